//! TLS, without I/O: what is to be sent becomes records, records become what has arrived.
//!
//! A client that wants TLS begins with it: the server tells its first bytes from a frame. One that
//! does not speak it answers with a frame, which is how [`SslMode::Prefer`](crate::SslMode) learns
//! that it has to come again in clear.

mod verify;

use crate::Error;
use crate::url::{Options, SslMode};
use bytes::{BufMut, BytesMut};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use verify::{Check, Verifier};

/// One connection's keys.
pub(crate) struct Tls {
    engine: ClientConnection,
    /// The server has said something.
    answered: bool,
}

impl Tls {
    /// As `options` want it, before the first byte. Reads files.
    pub(crate) fn new(options: &Options, mode: SslMode) -> Result<Tls, Error> {
        let name = options.server_name.as_ref().unwrap_or(&options.host);
        let name = ServerName::try_from(name.clone())
            .map_err(|_invalid| refused(options, "its name is none that a certificate can have"))?;
        let config = config(options, mode)?;
        let mut engine = ClientConnection::new(Arc::new(config), name)
            .map_err(|error| refused(options, &error.to_string()))?;
        // What is asked is bounded by the protocol above.
        engine.set_buffer_limit(None);
        Ok(Tls { engine, answered: false })
    }

    /// Whether there are records to send although nothing is asked.
    pub(crate) fn has_outgoing(&self) -> bool {
        self.engine.wants_write()
    }

    /// Appends the records for `plain`, and what the handshake has to say. What is asked before
    /// the handshake is done follows it.
    pub(crate) fn seal(&mut self, plain: &[u8], records: &mut BytesMut) -> io::Result<()> {
        self.engine.writer().write_all(plain)?;
        while self.engine.wants_write() {
            self.engine.write_tls(&mut (&mut *records).writer())?;
        }
        Ok(())
    }

    /// Appends what the records in `received` hold to `plain`.
    ///
    /// # Errors
    /// They are none (`Unsupported` where the server does not speak TLS at all), or the server is
    /// not who it should be.
    pub(crate) fn open(&mut self, mut received: &[u8], plain: &mut BytesMut) -> io::Result<()> {
        if !std::mem::replace(&mut self.answered, true) && !is_record(received) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the server does not speak TLS",
            ));
        }
        while !received.is_empty() {
            if self.engine.read_tls(&mut received)? == 0 {
                break;
            }
            let state = self.engine.process_new_packets();
            let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.engine.reader().read_exact(&mut plain[start..])?;
        }
        Ok(())
    }
}

/// Whether bytes can begin a record: its kind, and the version's major number. A server that does
/// not speak TLS answers with an error in a frame shorter than 768 bytes, whose second byte is less.
fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23] | [20..=23, 3, ..])
}

fn refused(options: &Options, reason: &str) -> Error {
    let cause = io::Error::new(io::ErrorKind::InvalidInput, reason.to_owned());
    Error::Connect { address: options.address(), cause: Arc::new(cause) }
}

fn config(options: &Options, mode: SslMode) -> Result<ClientConfig, Error> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let check = match (mode, &options.sslrootcert) {
        // As libpq has it: who names a root wants it looked at.
        (SslMode::Disable | SslMode::Prefer | SslMode::Require, None) => Check::Nothing,
        (SslMode::VerifyFull, Some(path)) => Check::RootAndName(roots(path)?),
        (_, Some(path)) => Check::Root(roots(path)?),
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(refused(
                options,
                "sslrootcert names no file to check its certificate with",
            ));
        }
    };
    let verifier = Verifier::new(check, provider.signature_verification_algorithms);
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(options, &error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// The certificates that a server's must come from.
fn roots(path: &Path) -> Result<verify::Roots, Error> {
    let unusable =
        |reason: String| Error::RootCertificate { path: path.display().to_string(), reason };
    let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut roots = verify::Roots { store: RootCertStore::empty(), certificates: Vec::new() };
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.store.add(certificate.clone()).map_err(|error| unusable(error.to_string()))?;
        roots.certificates.push(certificate);
    }
    if roots.store.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}
