//! Certificates that are trusted as they stand, and what is wrong with others, in words.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Trust in the certificates of a file: as authorities, and as the server's own. What `openssl req -x509` makes calls
/// itself an authority, which no server's certificate may be, but for one that is in the file byte for byte.
#[derive(Debug)]
pub(super) struct Pinned {
    own: Vec<CertificateDer<'static>>,
    by_authority: Arc<WebPkiServerVerifier>,
}

impl Pinned {
    pub(super) fn new(
        own: Vec<CertificateDer<'static>>,
        by_authority: Arc<WebPkiServerVerifier>,
    ) -> Self {
        Self { own, by_authority }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self
            .by_authority
            .verify_server_cert(shown, between, name, ocsp, now)
        {
            // Its time is looked at before this, its name would be after it.
            Err(error) if is_authority(&error) && self.own.contains(shown) => {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// Whether a certificate was refused because it calls itself an authority's.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Whether other authorities could make the certificate good.
pub(super) fn is_unknown(error: &Error) -> bool {
    is_authority(error)
        || matches!(
            error,
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            )
        )
}

/// What went wrong, in words for a person.
pub(super) fn sentence(error: &Error) -> String {
    match error {
        _ if is_authority(error) => {
            "the server's certificate is that of an authority, made for signing others".to_owned()
        }
        Error::InvalidCertificate(reason) => {
            format!("the server's certificate {}", refusal(reason))
        }
        Error::InvalidMessage(_) => "the server does not speak TLS here".to_owned(),
        Error::PeerIncompatible(_) => {
            "the server knows no kind of encryption that is safe today".to_owned()
        }
        Error::PeerMisbehaved(_) => "the server does not keep to the rules of TLS".to_owned(),
        Error::AlertReceived(alert) => format!(
            "the server refused the encryption (alert {})",
            u8::from(*alert)
        ),
        other => format!("the encryption failed: {other}"),
    }
}

/// What is wrong with a certificate, after “the server's certificate”.
fn refusal(reason: &CertificateError) -> String {
    use CertificateError as Wrong;
    match reason {
        Wrong::Expired | Wrong::ExpiredContext { .. } => "has expired".to_owned(),
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "is not valid yet, or this machine's clock is wrong".to_owned()
        }
        // A signature is not right when another authority of the same name has made it.
        Wrong::UnknownIssuer | Wrong::BadSignature => {
            "is signed by no authority that is trusted".to_owned()
        }
        Wrong::NotValidForName => "is for another name".to_owned(),
        Wrong::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            match presented.as_slice() {
                [] => format!("names no host, and so not {expected}"),
                names => {
                    let names: Vec<_> = names.iter().map(|name| bare_name(name)).collect();
                    format!("is for {}, not for {expected}", names.join(", "))
                }
            }
        }
        Wrong::Revoked => "has been revoked".to_owned(),
        Wrong::BadEncoding => "cannot be read".to_owned(),
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => {
            "is not made for servers".to_owned()
        }
        Wrong::UnsupportedSignatureAlgorithmContext { .. }
        | Wrong::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed in a way that is not safe today".to_owned()
        }
        _ => "is not of a form that can be trusted".to_owned(),
    }
}

/// A name of a certificate without its kind, which rustls shows as `DnsName("mail.example.org")`.
fn bare_name(shown: &str) -> &str {
    let inner = shown.split_once('(').map_or(shown, |(_, rest)| rest);
    inner.trim_end_matches(')').trim_matches('"')
}
