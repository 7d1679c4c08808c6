//! An SMTP server on loopback that does what it is told: well-behaved by default, hostile at any stage on demand.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::mime::base64;

/// Where in the conversation something happens: after the named command, or for `Dot` after the whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Connect,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// While the message comes in; the connection is closed after it.
    Message,
    Dot,
    Rset,
    Quit,
}

/// What the server does there instead of accepting.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// Answers with these lines.
    Reply(&'static str),
    /// Closes the connection without a word. After `Dot` it has kept the mail.
    Drop,
    /// Says nothing more.
    Mute,
    /// Says nothing more, but has kept the mail when it does so after `Dot`.
    Keep,
    /// Sends an endless reply, a byte now and then.
    Drip,
    /// Sends lines of one reply without end.
    Flood,
    /// Answers with this and closes the connection, as a server does that has other things to do.
    Close(&'static str),
}

/// A key and a certificate made for it, signed by itself.
pub struct Identity {
    config: Arc<ServerConfig>,
    authority: tempfile::NamedTempFile,
}

impl Identity {
    /// For the host of this name or address.
    pub fn of(host: &str) -> Self {
        Self::made(CertificateParams::new([host.to_owned()]).unwrap())
    }

    /// For this host, where the certificate calls itself an authority's, as those of `openssl req -x509` do. It was valid
    /// until the end of this year.
    pub fn authority(host: &str, last_year: i32) -> Self {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(last_year, 12, 31);
        Self::made(params)
    }

    fn made(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private.into())
            .unwrap();
        let mut authority = tempfile::NamedTempFile::new().unwrap();
        authority.write_all(certificate.pem().as_bytes()).unwrap();
        Self {
            config: Arc::new(config),
            authority,
        }
    }

    /// The parameter of a transport that makes it trust this identity.
    pub fn trusted(&self) -> String {
        format!("ca={}", self.authority.path().display())
    }
}

/// What the server will do. Start from [`Script::accept`].
pub struct Script {
    always: HashMap<Stage, Act>,
    once: Mutex<Vec<(Stage, Act)>>,
    login: Option<(String, String)>,
    mechanisms: &'static str,
    start_tls: Option<Arc<ServerConfig>>,
    implicit_tls: Option<Arc<ServerConfig>>,
}

impl Script {
    /// Takes every mail, from anybody, in the clear.
    pub fn accept() -> Self {
        Self {
            always: HashMap::new(),
            once: Mutex::new(Vec::new()),
            login: None,
            mechanisms: "PLAIN LOGIN",
            start_tls: None,
            implicit_tls: None,
        }
    }

    /// Does this whenever the conversation gets there.
    pub fn on(mut self, stage: Stage, act: Act) -> Self {
        self.always.insert(stage, act);
        self
    }

    /// Does this when a conversation gets there for the first time; several of one stage go in turn.
    pub fn once(self, stage: Stage, act: Act) -> Self {
        self.once.lock().unwrap().push((stage, act));
        self
    }

    /// Takes mail only after this login.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Offers these mechanisms of login, `PLAIN LOGIN` unless told.
    pub fn mechanisms(mut self, mechanisms: &'static str) -> Self {
        self.mechanisms = mechanisms;
        self
    }

    /// Offers STARTTLS with this identity, and takes mail only after it.
    pub fn start_tls(mut self, identity: &Identity) -> Self {
        self.start_tls = Some(identity.config.clone());
        self
    }

    /// Speaks TLS from the first byte.
    pub fn implicit_tls(mut self, identity: &Identity) -> Self {
        self.implicit_tls = Some(identity.config.clone());
        self
    }

    /// Listens on a free port until the server is dropped.
    pub fn start(self) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: self,
            ..Shared::default()
        });
        let thread = thread::spawn({
            let shared = shared.clone();
            move || listen(&listener, &shared)
        });
        Server {
            address,
            shared,
            thread: Some(thread),
        }
    }

    fn act(&self, stage: Stage) -> Option<Act> {
        let mut once = self.once.lock().unwrap();
        match once.iter().position(|(planned, _)| *planned == stage) {
            Some(next) => Some(once.remove(next).1),
            None => self.always.get(&stage).copied(),
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::accept()
    }
}

/// A mail that the server has taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// Headers and bodies, as they were before SMTP doubled the dots.
    pub data: String,
    /// Whether it came over TLS.
    pub encrypted: bool,
}

#[derive(Default)]
struct Shared {
    script: Script,
    mails: Mutex<Vec<Mail>>,
    commands: Mutex<Vec<String>>,
    sockets: Mutex<Vec<TcpStream>>,
    stopping: AtomicBool,
}

/// A running server. Dropping it ends all its connections and threads.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Its transport, with a login `user:password` and parameters unless they are empty.
    pub fn url(&self, login: &str, parameters: &str) -> String {
        let scheme = if self.shared.script.implicit_tls.is_some() {
            "smtps"
        } else {
            "smtp"
        };
        let login = if login.is_empty() {
            String::new()
        } else {
            format!("{login}@")
        };
        let parameters = if parameters.is_empty() {
            String::new()
        } else {
            format!("?{parameters}")
        };
        format!("{scheme}://{login}{}{parameters}", self.address)
    }

    /// The mails it has taken, in their order.
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// All lines that clients sent, messages left out.
    pub fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().unwrap().clone()
    }

    /// How many connections it has seen.
    pub fn connections(&self) -> usize {
        self.shared.sockets.lock().unwrap().len()
    }

    /// Closes the connections that are open now, as a server does with idle ones.
    pub fn hang_up(&self) {
        for socket in self.shared.sockets.lock().unwrap().iter() {
            // Those of the past are closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        self.hang_up();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || matches!(ended, Some(Ok(()))),
            "the SMTP server panicked"
        );
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut conversations = Vec::new();
    for socket in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let socket = socket.unwrap();
        shared
            .sockets
            .lock()
            .unwrap()
            .push(socket.try_clone().unwrap());
        let shared = shared.clone();
        conversations.push(thread::spawn(move || {
            let end = socket.try_clone().unwrap();
            // A client that hangs up is no error of the server's.
            let _ = Conversation::open(&shared, socket).and_then(Conversation::run);
            let _ = end.shutdown(Shutdown::Both);
        }));
    }
    for conversation in conversations {
        conversation.join().unwrap();
    }
}

trait Talk: Read + Write {}
impl<T: Read + Write> Talk for T {}

/// One connection.
struct Conversation<'a> {
    shared: &'a Shared,
    socket: TcpStream,
    talk: Box<dyn Talk>,
    encrypted: bool,
    known: bool,
    mail: Mail,
}

impl<'a> Conversation<'a> {
    fn open(shared: &'a Shared, socket: TcpStream) -> io::Result<Self> {
        let talk = Box::new(socket.try_clone()?);
        let known = shared.script.login.is_none();
        let mut opened = Self {
            shared,
            socket,
            talk,
            encrypted: false,
            known,
            mail: Mail::default(),
        };
        if let Some(config) = &shared.script.implicit_tls {
            opened.encrypt(config.clone())?;
        }
        Ok(opened)
    }

    fn encrypt(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        self.talk = Box::new(StreamOwned::new(session, self.socket.try_clone()?));
        self.encrypted = true;
        Ok(())
    }

    fn run(mut self) -> io::Result<()> {
        self.answer(Stage::Connect, "220 double.example ESMTP")?;
        loop {
            let line = self.hear()?;
            self.shared.commands.lock().unwrap().push(line.clone());
            self.obey(&line)?;
        }
    }

    fn obey(&mut self, line: &str) -> io::Result<()> {
        let verb = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_uppercase();
        match verb.as_str() {
            "EHLO" => self.answer(Stage::Ehlo, &self.extensions()),
            "HELO" => self.say("250 double.example"),
            "STARTTLS" => self.start_tls(),
            "AUTH" => self.log_in(line),
            "MAIL" => self.take_sender(line),
            "RCPT" => self.take_recipient(line),
            "DATA" => self.take_message(),
            "RSET" => {
                self.mail = Mail::default();
                self.answer(Stage::Rset, "250 forgotten")
            }
            "QUIT" => {
                self.answer(Stage::Quit, "221 bye")?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            _ => self.say("502 unknown"),
        }
    }

    fn extensions(&self) -> String {
        let script = &self.shared.script;
        let mut lines = String::from("250-double.example\r\n250-8BITMIME\r\n250-SMTPUTF8");
        if script.start_tls.is_some() && !self.encrypted {
            lines += "\r\n250-STARTTLS";
        }
        if script.login.is_some() {
            lines += &format!("\r\n250-AUTH {}", script.mechanisms);
        }
        lines + "\r\n250 HELP"
    }

    fn start_tls(&mut self) -> io::Result<()> {
        let Some(config) = self.shared.script.start_tls.clone() else {
            return self.say("502 no TLS here");
        };
        self.answer(Stage::StartTls, "220 go ahead")?;
        self.encrypt(config)
    }

    fn log_in(&mut self, line: &str) -> io::Result<()> {
        let (user, password) = self.shared.script.login.clone().unwrap_or_default();
        let given = match line.split(' ').collect::<Vec<_>>().as_slice() {
            [_, "PLAIN", both] => *both == base64(format!("\0{user}\0{password}").as_bytes()),
            [_, "LOGIN"] => {
                self.ask("334 VXNlcm5hbWU6")? == base64(user.as_bytes())
                    && self.ask("334 UGFzc3dvcmQ6")? == base64(password.as_bytes())
            }
            _ => false,
        };
        self.known = given;
        self.answer(
            Stage::Auth,
            if given {
                "235 welcome"
            } else {
                "535 5.7.8 who are you?"
            },
        )
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        self.say(question)?;
        let line = self.hear()?;
        self.shared.commands.lock().unwrap().push(line.clone());
        Ok(line)
    }

    fn take_sender(&mut self, line: &str) -> io::Result<()> {
        let secured = self.encrypted || self.shared.script.start_tls.is_none();
        if !self.known || !secured {
            return self.say("530 5.7.0 prove yourself first");
        }
        self.mail = Mail {
            from: between_brackets(line),
            encrypted: self.encrypted,
            ..Mail::default()
        };
        self.answer(Stage::Mail, "250 sender ok")
    }

    fn take_recipient(&mut self, line: &str) -> io::Result<()> {
        if self.answer_if(Stage::Rcpt, "250 recipient ok", '2')? {
            self.mail.to.push(between_brackets(line));
        }
        Ok(())
    }

    fn take_message(&mut self) -> io::Result<()> {
        if !self.answer_if(Stage::Data, "354 go on", '3')? {
            return Ok(());
        }
        let mut mail = std::mem::take(&mut self.mail);
        if let Some(act) = self.shared.script.act(Stage::Message) {
            self.hear()?;
            self.perform(act)?;
            // Closed by whoever holds it last, with words in it that nobody has read: the client is cut off.
            let peer = self.socket.peer_addr()?;
            let is_other = |socket: &TcpStream| socket.peer_addr().ok() != Some(peer);
            self.shared.sockets.lock().unwrap().retain(is_other);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        loop {
            let line = self.hear()?;
            if line == "." {
                break;
            }
            mail.data += line.strip_prefix('.').unwrap_or(&line);
            mail.data += "\r\n";
        }
        self.take_mail(mail)
    }

    /// Keeps the mail before the answer, so that a client which has the answer finds the mail here.
    fn take_mail(&mut self, mail: Mail) -> io::Result<()> {
        let act = self.shared.script.act(Stage::Dot);
        let taken = match act {
            None | Some(Act::Drop | Act::Keep) => true,
            Some(Act::Reply(text) | Act::Close(text)) => text.starts_with('2'),
            Some(_) => false,
        };
        if taken {
            self.shared.mails.lock().unwrap().push(mail);
        }
        self.perform(act.unwrap_or(Act::Reply("250 2.0.0 Ok: queued as DOUBLE")))
    }

    fn answer(&mut self, stage: Stage, usual: &str) -> io::Result<()> {
        self.answer_if(stage, usual, '2').map(drop)
    }

    /// Answers as the script says or as usual; tells whether the reply was of the class.
    fn answer_if(&mut self, stage: Stage, usual: &str, class: char) -> io::Result<bool> {
        match self.shared.script.act(stage) {
            None => self.say(usual).map(|()| usual.starts_with(class)),
            Some(act) => {
                self.perform(act)?;
                Ok(matches!(act, Act::Reply(text) if text.starts_with(class)))
            }
        }
    }

    fn perform(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Reply(text) => return self.say(text),
            Act::Drop => {}
            Act::Mute | Act::Keep => while self.talk.read(&mut [0; 64])? > 0 {},
            Act::Drip => loop {
                self.send(b"2")?;
                thread::sleep(Duration::from_millis(5));
            },
            Act::Close(text) => self.say(text)?,
            Act::Flood => loop {
                self.send(b"250-and another thing\r\n")?;
            },
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.send(format!("{text}\r\n").as_bytes())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.talk.write_all(bytes)?;
        self.talk.flush()
    }

    /// Reads one line, a byte at a time so that nothing of a TLS handshake after it is taken.
    fn hear(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.talk.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(io::Error::other)
    }
}

fn between_brackets(line: &str) -> String {
    let inner = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner
        .map(|(address, _)| address.to_owned())
        .unwrap_or_default()
}
