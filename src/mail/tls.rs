//! TLS over a connection with a deadline: which certificates are trusted, and the stream that may become encrypted.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::deadline::Timed;
use super::pinned::Pinned;

/// The settings of TLS: trust in the certificates of the file, or else in the system's (`SSL_CERT_FILE` counts). One
/// that is in the file is trusted as a server's own too.
///
/// # Errors
///
/// When there is no certificate to trust.
pub(super) fn trust(ca: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let own = ca.map(read_certificates).transpose()?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(match &own {
        Some(own) => own.clone(),
        None => rustls_native_certs::load_native_certs().certs,
    });
    if roots.is_empty() {
        return Err(io::Error::other(
            "there is no certificate of an authority to trust",
        ));
    }
    let provider = Arc::new(default_provider());
    let settings = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let Some(own) = own else {
        return Ok(Arc::new(
            settings.with_root_certificates(roots).with_no_client_auth(),
        ));
    };
    let by_authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(io::Error::other)?;
    let verifier = Arc::new(Pinned::new(own, by_authority));
    Ok(Arc::new(
        settings
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth(),
    ))
}

fn read_certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    certificates.map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}

/// A connection, encrypted or not yet.
pub(super) enum Stream {
    Plain(Timed),
    Encrypted(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    /// Goes through the handshake, and so makes sure that the server is the named host.
    pub(super) fn encrypt(
        mut socket: Timed,
        host: &str,
        trust: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(trust, name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self::Encrypted(Box::new(StreamOwned::new(session, socket))))
    }

    pub(super) fn socket(&mut self) -> &mut Timed {
        match self {
            Self::Plain(socket) => socket,
            Self::Encrypted(stream) => &mut stream.sock,
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}
