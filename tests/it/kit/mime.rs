//! Reads mails back: headers, bodies and their encodings, without the library that wrote them.

/// A header's value, unfolded and decoded; empty when there is none.
pub fn header(mail: &str, name: &str) -> String {
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let prefix = format!("{}:", name.to_lowercase());
    let found = unfolded
        .split("\r\n")
        .find(|line| line.to_lowercase().starts_with(&prefix));
    found
        .map(|line| decode_words(line[prefix.len()..].trim()))
        .unwrap_or_default()
}

/// The plain text, decoded, with `\n` at its line ends.
pub fn body(mail: &str) -> String {
    part(mail, "text/plain").expect("a plain text part")
}

/// The HTML, decoded, with `\n` at its line ends.
pub fn html(mail: &str) -> Option<String> {
    part(mail, "text/html")
}

fn part(mail: &str, kind: &str) -> Option<String> {
    let (_, content) = mail.split_once("\r\n\r\n").unwrap();
    let media = header(mail, "Content-Type");
    if let Some((_, boundary)) = media.split_once("boundary=") {
        let line = format!("--{}", boundary.trim_matches('"'));
        let mut parts = content
            .split(&line)
            .skip(1)
            .filter_map(|part| part.strip_prefix("\r\n"));
        return parts.find_map(|inner| part(inner.strip_suffix("\r\n").unwrap_or(inner), kind));
    }
    media
        .starts_with(kind)
        .then(|| decode(content, &header(mail, "Content-Transfer-Encoding")))
}

fn decode(content: &str, encoding: &str) -> String {
    let bytes = match encoding {
        "base64" => base64_decode(content),
        "quoted-printable" => quoted_printable(&content.replace("=\r\n", "")),
        _ => content.as_bytes().to_vec(),
    };
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

/// Decodes `=?utf-8?b?…?=` words; white space between two of them is not part of the text.
fn decode_words(text: &str) -> String {
    let joined = text.replace("?= =?", "?==?");
    let mut decoded = String::new();
    let mut rest = joined.as_str();
    while let Some((before, word)) = rest.split_once("=?utf-8?b?") {
        let (word, after) = word.split_once("?=").unwrap();
        decoded += before;
        decoded += &String::from_utf8(base64_decode(word)).unwrap();
        rest = after;
    }
    decoded + rest
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    bytes
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 as SMTP's logins use it.
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() {
                letter as char
            } else {
                '='
            });
        }
    }
    text
}

fn base64_decode(text: &str) -> Vec<u8> {
    let value = |byte| ALPHABET.iter().position(|letter| *letter == byte);
    let digits: Vec<usize> = text.bytes().filter_map(value).collect();
    let whole = digits.chunks(4).flat_map(|chunk| {
        let bits = (0..4).fold(0, |bits, at| bits << 6 | chunk.get(at).unwrap_or(&0));
        [bits >> 16, bits >> 8, bits]
            .into_iter()
            .take(chunk.len() - 1)
    });
    whole.map(|byte| (byte & 255) as u8).collect()
}
