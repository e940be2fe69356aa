//! The engine without a socket, against a client of rustls's own.

use super::identity::provider;
use super::session::INCOMING_BYTES_MAX;
use super::*;
use bytes::Bytes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{Read, Write};

/// Takes any certificate.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn acceptor() -> Acceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = made.signing_key.serialize_pem();
    let identity = Identity::from_pem(made.cert.pem().as_bytes(), key.as_bytes());
    Acceptor::new(identity.expect("they fit"), MinimumVersion::Tls12).expect("an acceptor")
}

/// A client that speaks one version, and the server's side of its connection.
struct Pair {
    client: ClientConnection,
    server: Session,
}

impl Pair {
    fn new(version: &'static rustls::SupportedProtocolVersion) -> Pair {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("a version")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let server = Session::new(&acceptor().config).expect("a session");
        Pair { client, server }
    }

    /// What the client wants to send now.
    fn sent(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut records).expect("records");
        }
        records
    }

    /// Gives records to the client; what was in them.
    fn take(&mut self, mut records: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !records.is_empty() {
            self.client.read_tls(&mut records).expect("records");
            let state = self.client.process_new_packets().expect("the server keeps the protocol");
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.client.reader().read_exact(&mut plain[start..]).expect("as much as it said");
        }
        plain
    }

    /// Shakes hands, with the client's bytes coming in pieces of so many.
    fn shaken(mut self, piece: usize) -> Pair {
        while !self.server.is_open() || self.client.is_handshaking() {
            for bytes in self.sent().chunks(piece) {
                self.server.receive(bytes.to_vec());
            }
            self.server.check().expect("a handshake");
            let answer = self.server.take_outgoing();
            self.take(&answer);
        }
        self
    }
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn hands_are_shaken_however_the_bytes_arrive() {
    for version in VERSIONS {
        for piece in [1, 7, 1 << 20] {
            let mut pair = Pair::new(version).shaken(piece);
            pair.client.writer().write_all(b"question").expect("room");
            for byte in pair.sent() {
                assert!(pair.server.take_plain().is_empty(), "half a record holds nothing");
                pair.server.receive(vec![byte]);
            }
            assert_eq!(pair.server.take_plain(), b"question");
            let answer = [Bytes::from_static(b"ans"), Bytes::new(), Bytes::from_static(b"wer")];
            let records = pair.server.seal(&answer).expect("records");
            assert_eq!(pair.take(&records), b"answer");
        }
    }
}

#[test]
fn a_batch_is_one_train_of_records_and_nothing_is_kept() {
    for version in VERSIONS {
        let mut pair = Pair::new(version).shaken(1 << 20);
        let long: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let batch = [Bytes::from(long.clone()), Bytes::from_static(b"the end")];
        let records = pair.server.seal(&batch).expect("records");
        assert_eq!(pair.take(&records), [&long[..], b"the end"].concat());
        pair.client.set_buffer_limit(None);
        pair.client.writer().write_all(&long).expect("room");
        let records = pair.sent();
        pair.server.receive(records);
        assert_eq!(pair.server.take_plain(), long);
        assert_eq!(pair.server.buffer_bytes(), 0);
    }
}

/// The writer works between two halves of a message that the reader has not seen whole.
#[test]
fn keys_are_renewed_while_answers_leave() {
    let mut pair = Pair::new(&rustls::version::TLS13).shaken(1 << 20);
    for round in 0..3 {
        pair.client.refresh_traffic_keys().expect("new keys");
        pair.client.writer().write_all(b"question").expect("room");
        let records = pair.sent();
        for byte in records {
            pair.server.receive(vec![byte]);
            let records = pair.server.seal(&[Bytes::from_static(b"x")]).expect("records");
            assert_eq!(pair.take(&records), b"x", "round {round}");
        }
        assert_eq!(pair.server.take_plain(), b"question");
    }
}

#[test]
fn goodbyes_are_said_and_heard() {
    for version in VERSIONS {
        let mut pair = Pair::new(version).shaken(1 << 20);
        pair.client.writer().write_all(b"last").expect("room");
        pair.client.send_close_notify();
        let records = pair.sent();
        pair.server.receive(records);
        assert_eq!(pair.server.take_plain(), b"last");
        assert!(pair.server.has_ended());
        let goodbye = pair.server.close();
        assert!(!goodbye.is_empty());
        pair.take(&goodbye);
        assert_eq!(pair.client.reader().read(&mut [0; 8]).expect("a clean end"), 0);
    }
}

#[test]
fn what_is_no_tls_ends_the_connection() {
    const ALERT: u8 = 21;
    let too_long = [22, 3, 1, 0, 5, 9, 9, 9, 9, 9];
    let strange = [22, 3, 1, 0, 5, 9, 0, 0, 1, 9];
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &too_long, &strange] {
        let mut session = Session::new(&acceptor().config).expect("a session");
        session.receive(bytes.to_vec());
        session.check().expect_err("no TLS");
        // The engine has nothing to say to a message that is too long to be one.
        let said = session.take_outgoing();
        assert_eq!(said.first(), (bytes != too_long).then_some(&ALERT), "{bytes:?}: {said:?}");
        session.receive(vec![22; 64 << 10]);
        session.check().expect_err("it stays so");
        session.seal(&[Bytes::from_static(b"x")]).expect_err("nothing is sent in clear");
    }
}

#[test]
fn a_greeting_without_end_is_not_gathered() {
    let mut session = Session::new(&acceptor().config).expect("a session");
    // A message of the handshake as long as can be said, in records of one byte.
    let begin = [22, 3, 1, 0, 4, 1, 0, 0xff, 0xff];
    session.receive(begin.to_vec());
    let mut sent = begin.len();
    while session.check().is_ok() {
        session.receive([22, 3, 1, 0, 1, 0].to_vec());
        sent += 6;
        assert!(sent <= INCOMING_BYTES_MAX + 6, "{sent} bytes were taken");
    }
}

#[test]
fn a_frame_is_no_greeting() {
    use crate::frame::HANDSHAKE_PAYLOAD_MAX;
    let first = |length: u32| is_client_hello(&length.to_le_bytes());
    assert!((0..=HANDSHAKE_PAYLOAD_MAX).all(|length| first(length) == Some(false)));
    let mut pair = Pair::new(&rustls::version::TLS13);
    let hello = pair.sent();
    assert_eq!(is_client_hello(&hello), Some(true));
    assert_eq!((is_client_hello(&hello[..2]), is_client_hello(&[])), (None, None));
}

#[test]
fn files_of_no_use_are_told_apart() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let refused = |certificate: &str, key: &str| {
        let read = Identity::from_pem(certificate.as_bytes(), key.as_bytes());
        read.err().expect("it is refused")
    };
    assert!(matches!(refused("", &key), IdentityError::Certificates(_)));
    assert!(matches!(refused(&key, &key), IdentityError::Certificates(_)));
    assert!(matches!(refused(&certificate, &certificate), IdentityError::Key(_)));
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let IdentityError::Key(said) = refused(&certificate, &other) else { panic!("the key") };
    assert!(said.contains("first certificate"), "{said}");
    let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let IdentityError::Key(said) = refused(&certificate, &locked) else { panic!("the key") };
    assert!(said.contains("passphrase"), "{said}");
}
