//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a log-in that proves knowledge of a password without
//! sending it, to a server that does not store it.
//!
//! ```text
//!  client                                             server
//!    | n,,n=,r=NONCE  ------------------------------->  |   first
//!    | <-------------  r=NONCE+MORE,s=SALT,i=ROUNDS     |
//!    | c=biws,r=NONCE+MORE,p=PROOF  ----------------->  |   final
//!    | <-----------------------------  v=SIGNATURE      |   the server knew the verifier
//! ```
//!
//! [`Server`] and [`Client`] are state machines: a message in, an action out. They know no I/O, no
//! clock and no randomness; nonces and salts are given to them. Both doors and the Rust client
//! share them.
//!
//! What is stored is a [`Verifier`], in PostgreSQL's form
//! `SCRAM-SHA-256$4096:SALT$STORED_KEY:SERVER_KEY`. Checking a proof against it takes a few hashes;
//! making one from a password takes [`ROUNDS`] of them, which [`Stretching`] does in as many steps
//! as its caller likes, so that a core is not kept from its other work.
//!
//! A user who does not exist, or has no password, gets the same exchange from
//! [`Verifier::mock`]: with a salt that stays the same for that name, and without a chance.
//!
//! Not here: channel binding (the `-PLUS` mechanism); a client that insists on it is refused.
//! Passwords are prepared by SASLprep (RFC 4013); one that it forbids is taken as it is, as
//! PostgreSQL does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use subtle::ConstantTimeEq;

/// The mechanism's name.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// Rounds of hashing that new verifiers are made with.
pub const ROUNDS: u32 = 4096;
/// Most rounds that are accepted of a server or a verifier: more would be an attack on the time of
/// whoever hashes.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// Bytes of a new salt.
pub const SALT_BYTES: usize = 16;
/// Random bytes of one side's part of the nonce.
pub const NONCE_BYTES: usize = 18;

const KEY_BYTES: usize = 32;
/// A salt that is longer is no salt of anyone's.
const SALT_BYTES_MAX: usize = 1024;

type Key = [u8; KEY_BYTES];

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The message does not follow the protocol.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// The client insists on channel binding.
    #[error("channel binding is not supported")]
    ChannelBinding,
    /// The client wants to act as somebody else.
    #[error("an authorization identity is not supported")]
    AuthorizationIdentity,
    /// The password is wrong, or the user has none.
    #[error("the password is wrong")]
    WrongPassword,
    /// The server did not prove that it knows the verifier.
    #[error("the server could not prove that it knows the password")]
    WrongServer,
}

/// What the server stores instead of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    rounds: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// Made of a password in one go.
    pub fn of_password(password: &str, salt: &[u8], rounds: u32) -> Verifier {
        Stretching::new(password, salt, rounds).finish()
    }

    /// Reads the stored form; `None` where the text is none.
    pub fn parse(text: &str) -> Option<Verifier> {
        let rest = text.strip_prefix(MECHANISM)?.strip_prefix('$')?;
        let (parameters, keys) = rest.split_once('$')?;
        let (rounds, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let key = |text: &str| -> Option<Key> { BASE64.decode(text).ok()?.try_into().ok() };
        let salt = BASE64.decode(salt).ok().filter(|salt| salt.len() <= SALT_BYTES_MAX)?;
        Some(Verifier {
            rounds: parse_rounds(rounds)?,
            salt,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }

    /// One that no password fits, for a user without a password. `secret` is the node's own; with
    /// it the salt is the same whenever the same name is tried.
    pub fn mock(secret: &[u8], user: &str) -> Verifier {
        let derived = |purpose: &[u8]| mac(secret, &[purpose, user.as_bytes()]);
        Verifier {
            rounds: ROUNDS,
            salt: derived(b"salt:")[..SALT_BYTES].to_vec(),
            stored_key: derived(b"stored:"),
            server_key: derived(b"server:"),
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| BASE64.encode(bytes);
        let (salt, rounds) = (text(&self.salt), self.rounds);
        let (stored, server) = (text(&self.stored_key), text(&self.server_key));
        write!(f, "{MECHANISM}${rounds}:{salt}${stored}:{server}")
    }
}

impl fmt::Debug for Verifier {
    // Its keys are for nobody's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

/// A password on its way to a salted key: PBKDF2 (RFC 8018) with HMAC-SHA-256 and one block, in
/// steps.
pub struct Stretching {
    keyed: Hmac<Sha256>,
    salt: Vec<u8>,
    rounds: u32,
    left: u32,
    last: Key,
    sum: Key,
}

impl Stretching {
    /// Does the first round of `rounds` (at least one).
    pub fn new(password: &str, salt: &[u8], rounds: u32) -> Stretching {
        let keyed = keyed(prepared(password).as_bytes());
        // The number of the block, the only one, follows the salt.
        let first = finish(keyed.clone(), &[salt, &1u32.to_be_bytes()]);
        let left = rounds.saturating_sub(1);
        Stretching { keyed, salt: salt.to_vec(), rounds: left + 1, left, last: first, sum: first }
    }

    /// Does at most `rounds` more; whether it is done.
    pub fn advance(&mut self, rounds: u32) -> bool {
        let now = rounds.min(self.left);
        for _ in 0..now {
            self.last = finish(self.keyed.clone(), &[&self.last]);
            xor(&mut self.sum, &self.last);
        }
        self.left -= now;
        self.left == 0
    }

    /// The verifier, after what rounds are left.
    pub fn finish(mut self) -> Verifier {
        let salted = self.salted_password();
        Verifier {
            rounds: self.rounds,
            stored_key: hash(&mac(&salted, &[b"Client Key"])),
            server_key: mac(&salted, &[b"Server Key"]),
            salt: self.salt,
        }
    }

    fn salted_password(&mut self) -> Key {
        self.advance(u32::MAX);
        self.sum
    }
}

/// What the server does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAction {
    /// Sends this and waits for the client's answer.
    Continue(Vec<u8>),
    /// Sends this; the client has proved itself.
    Done(Vec<u8>),
}

/// The server's side of one exchange.
#[derive(Debug)]
pub struct Server {
    verifier: Verifier,
    /// Whether the verifier is somebody's; otherwise every proof fails.
    genuine: bool,
    nonce: String,
    state: ServerState,
}

#[derive(Debug)]
enum ServerState {
    First,
    Final { header: &'static str, client_first: String, server_first: String, nonce: String },
    Over,
}

impl Server {
    /// For a user with this verifier.
    pub fn new(verifier: Verifier, nonce: [u8; NONCE_BYTES]) -> Server {
        Server { verifier, genuine: true, nonce: BASE64.encode(nonce), state: ServerState::First }
    }

    /// For a user without one: the exchange looks the same and fails in the end.
    pub fn mock(secret: &[u8], user: &str, nonce: [u8; NONCE_BYTES]) -> Server {
        Server { genuine: false, ..Server::new(Verifier::mock(secret, user), nonce) }
    }

    /// Takes the client's next message.
    ///
    /// # Errors
    /// The exchange has failed, and is over.
    pub fn step(&mut self, message: &[u8]) -> Result<ServerAction, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("no UTF-8"))?;
        match std::mem::replace(&mut self.state, ServerState::Over) {
            ServerState::First => self.first(text),
            ServerState::Final { header, client_first, server_first, nonce } => {
                let said = format!("{client_first},{server_first}");
                self.last(text, header, &said, &nonce)
            }
            ServerState::Over => Err(ScramError::Malformed("the exchange is over")),
        }
    }

    fn first(&mut self, message: &str) -> Result<ServerAction, ScramError> {
        let mut parts = message.splitn(3, ',');
        let header = match parts.next() {
            Some("n") => "n,,",
            // It could, and thinks that we cannot: right.
            Some("y") => "y,,",
            Some(binding) if binding.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed("no channel binding flag")),
        };
        match parts.next() {
            Some("") => {}
            Some(_) => return Err(ScramError::AuthorizationIdentity),
            None => return Err(ScramError::Malformed("it breaks off")),
        }
        let client_first = parts.next().ok_or(ScramError::Malformed("it breaks off"))?;
        let mut attributes = client_first.split(',');
        // The name is that of the connection's beginning; the one here is passed over.
        attribute(attributes.next(), "n=")?;
        let client_nonce = attribute(attributes.next(), "r=")?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed("the nonce is not printable"));
        }
        let nonce = format!("{client_nonce}{}", self.nonce);
        let (salt, rounds) = (BASE64.encode(&self.verifier.salt), self.verifier.rounds);
        let server_first = format!("r={nonce},s={salt},i={rounds}");
        let answer = server_first.clone().into_bytes();
        let client_first = client_first.to_owned();
        self.state = ServerState::Final { header, client_first, server_first, nonce };
        Ok(ServerAction::Continue(answer))
    }

    fn last(
        &self,
        message: &str,
        header: &str,
        said: &str,
        nonce: &str,
    ) -> Result<ServerAction, ScramError> {
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or(ScramError::Malformed("there is no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = attribute(attributes.next(), "c=")?;
        if binding != BASE64.encode(header) {
            return Err(ScramError::Malformed("the channel binding has changed"));
        }
        if attribute(attributes.next(), "r=")? != nonce {
            return Err(ScramError::Malformed("the nonce has changed"));
        }
        let proof = decoded_key(proof).ok_or(ScramError::Malformed("the proof is no key"))?;
        let said = format!("{said},{without_proof}");
        let mut client_key = mac(&self.verifier.stored_key, &[said.as_bytes()]);
        xor(&mut client_key, &proof);
        let equal = hash(&client_key).ct_eq(&self.verifier.stored_key);
        if !bool::from(equal) || !self.genuine {
            return Err(ScramError::WrongPassword);
        }
        let signature = mac(&self.verifier.server_key, &[said.as_bytes()]);
        Ok(ServerAction::Done(format!("v={}", BASE64.encode(signature)).into_bytes()))
    }
}

/// What the client does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAction {
    /// Sends this and waits for the server's answer.
    Continue(Vec<u8>),
    /// Nothing: the server has proved itself too.
    Done,
}

/// The client's side of one exchange.
pub struct Client {
    password: String,
    client_first: String,
    nonce: String,
    state: ClientState,
}

enum ClientState {
    First,
    Final { signature: Key },
    Over,
}

impl Client {
    /// For a password. `nonce` must be random, and another one each time.
    pub fn new(password: &str, nonce: [u8; NONCE_BYTES]) -> Client {
        Client::with_nonce("", password, BASE64.encode(nonce))
    }

    fn with_nonce(user: &str, password: &str, nonce: String) -> Client {
        Client {
            password: password.to_owned(),
            client_first: format!("n={user},r={nonce}"),
            nonce,
            state: ClientState::First,
        }
    }

    /// The message that begins the exchange.
    pub fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.client_first).into_bytes()
    }

    /// Takes the server's next message.
    ///
    /// # Errors
    /// The server broke the protocol, or is an impostor.
    pub fn step(&mut self, message: &[u8]) -> Result<ClientAction, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("no UTF-8"))?;
        match std::mem::replace(&mut self.state, ClientState::Over) {
            ClientState::First => self.prove(text),
            ClientState::Final { signature } => {
                let told = text.strip_prefix("v=").and_then(decoded_key);
                match told.is_some_and(|told| bool::from(told.ct_eq(&signature))) {
                    true => Ok(ClientAction::Done),
                    false => Err(ScramError::WrongServer),
                }
            }
            ClientState::Over => Err(ScramError::Malformed("the exchange is over")),
        }
    }

    fn prove(&mut self, server_first: &str) -> Result<ClientAction, ScramError> {
        let mut attributes = server_first.split(',');
        let nonce = attribute(attributes.next(), "r=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Malformed("the nonce does not go on from ours"));
        }
        let salt = BASE64
            .decode(attribute(attributes.next(), "s=")?)
            .map_err(|_| ScramError::Malformed("the salt is no base64"))?;
        let rounds = parse_rounds(attribute(attributes.next(), "i=")?)
            .ok_or(ScramError::Malformed("the number of rounds is none"))?;
        let salted = Stretching::new(&self.password, &salt, rounds).salted_password();
        let without_proof = format!("c=biws,r={nonce}");
        let said = format!("{},{server_first},{without_proof}", self.client_first);
        let mut proof = mac(&salted, &[b"Client Key"]);
        let signature = mac(&hash(&proof), &[said.as_bytes()]);
        xor(&mut proof, &signature);
        let server_key = mac(&salted, &[b"Server Key"]);
        self.state = ClientState::Final { signature: mac(&server_key, &[said.as_bytes()]) };
        let message = format!("{without_proof},p={}", BASE64.encode(proof));
        Ok(ClientAction::Continue(message.into_bytes()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

/// Whether this is the password of a verifier, for one who was sent it in clear text.
pub fn is_password_of(password: &str, verifier: &Verifier) -> bool {
    let made = Verifier::of_password(password, &verifier.salt, verifier.rounds);
    made.stored_key.ct_eq(&verifier.stored_key).into()
}

fn parse_rounds(text: &str) -> Option<u32> {
    text.parse().ok().filter(|rounds| (1..=ROUNDS_MAX).contains(rounds))
}

fn prepared(password: &str) -> Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password))
}

fn attribute<'m>(part: Option<&'m str>, name: &str) -> Result<&'m str, ScramError> {
    let value = part.and_then(|part| part.strip_prefix(name));
    value.ok_or(ScramError::Malformed("an attribute is missing or out of order"))
}

fn decoded_key(text: &str) -> Option<Key> {
    BASE64.decode(text).ok()?.try_into().ok()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Key {
    finish(keyed(key), parts)
}

fn finish(mut keyed: Hmac<Sha256>, parts: &[&[u8]]) -> Key {
    parts.iter().for_each(|part| keyed.update(part));
    keyed.finalize().into_bytes().into()
}

fn hash(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}

fn xor(into: &mut Key, other: &Key) {
    into.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

    fn exchange(client: &mut Client, server: &mut Server) -> Result<(), ScramError> {
        let mut message = client.first();
        loop {
            let (answer, done) = match server.step(&message)? {
                ServerAction::Continue(answer) => (answer, false),
                ServerAction::Done(answer) => (answer, true),
            };
            match (client.step(&answer)?, done) {
                (ClientAction::Continue(next), false) => message = next,
                (ClientAction::Done, true) => return Ok(()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let mut client = Client::with_nonce("user", "pencil", nonce);
        assert_eq!(client.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let mut server = Server::new(Verifier::of_password("pencil", &salt, 4096), NONCE);
        server.nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        let first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            server.step(&client.first()),
            Ok(ServerAction::Continue(first.as_bytes().to_vec()))
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(
            client.step(first.as_bytes()),
            Ok(ClientAction::Continue(last.as_bytes().to_vec()))
        );
        let signature = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
        assert_eq!(server.step(last.as_bytes()), Ok(ServerAction::Done(signature.clone())));
        assert_eq!(client.step(&signature), Ok(ClientAction::Done));
    }

    #[test]
    fn the_right_password_passes_and_others_do_not() {
        let verifier = Verifier::of_password("pässword", b"0123456789abcdef", 10);
        for (password, result) in
            [("pässword", Ok(())), ("password", Err(ScramError::WrongPassword))]
        {
            let mut server = Server::new(verifier.clone(), NONCE);
            assert_eq!(exchange(&mut Client::new(password, [1; 18]), &mut server), result);
            assert_eq!(is_password_of(password, &verifier), result.is_ok());
        }
    }

    #[test]
    fn a_user_who_does_not_exist_cannot_be_told_from_a_wrong_password() {
        let first = |user| match Server::mock(b"secret", user, NONCE).step(b"n,,n=,r=abc") {
            Ok(ServerAction::Continue(message)) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(first("ghost"), first("ghost"), "the salt stays");
        assert_ne!(first("ghost"), first("spectre"));
        let mut server = Server::mock(b"secret", "ghost", NONCE);
        let refused = exchange(&mut Client::new("", [1; 18]), &mut server);
        assert_eq!(refused, Err(ScramError::WrongPassword));
    }

    #[test]
    fn a_stored_verifier_is_read_again() {
        let verifier = Verifier::of_password("x", b"salt", 4096);
        assert_eq!(Verifier::parse(&verifier.to_string()), Some(verifier));
        // Made by PostgreSQL 15 for the password `secret`.
        let stored = "SCRAM-SHA-256$4096:2khj8tXG9ZfZ0pptDf5wuw==$\
                      4eH74XHkrjco8RwUJaNRtWhLyrb9zlVYK/aEHiNNbCo=:\
                      t1lq0V13f8bx+XcW/xafM/gXJOuGjzAN8TOgRTF/8Ds=";
        let read = Verifier::parse(stored).unwrap();
        assert_eq!(read.to_string(), stored);
        assert!(is_password_of("secret", &read) && !is_password_of("Secret", &read));
        for bad in ["", "md5abc", "SCRAM-SHA-256$0:YQ==$a:b", "SCRAM-SHA-256$4096:YQ==$YQ==:YQ=="] {
            assert_eq!(Verifier::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn stretching_in_steps_comes_to_the_same() {
        let mut stretching = Stretching::new("pencil", b"salt", 100);
        let mut steps = 1;
        while !stretching.advance(30) {
            steps += 1;
        }
        assert_eq!(steps, 4);
        assert_eq!(stretching.finish(), Verifier::of_password("pencil", b"salt", 100));
    }

    #[test]
    fn passwords_are_prepared() {
        let same = |a, b| Verifier::of_password(a, b"s", 2) == Verifier::of_password(b, b"s", 2);
        assert!(same("I\u{ad}X", "IX"), "a soft hyphen maps to nothing");
        assert!(same("\u{2168}", "IX"), "compatibility characters are folded");
        assert!(!same("user", "USER"));
        assert!(same("\u{7}", "\u{7}"), "what is forbidden is taken as it is");
    }

    #[test]
    fn what_is_no_scram_is_refused() {
        let server = || Server::new(Verifier::of_password("x", b"salt", 1), NONCE);
        let first = |message: &[u8]| server().step(message).unwrap_err();
        assert_eq!(first(b"p=tls-unique,,n=,r=abc"), ScramError::ChannelBinding);
        assert_eq!(first(b"n,a=other,n=,r=abc"), ScramError::AuthorizationIdentity);
        for bad in [&b""[..], b"n", b"n,", b"n,,", b"n,,n=x", b"n,,r=x,n=y", b"n,,n=,r=", b"\xff"] {
            assert!(matches!(first(bad), ScramError::Malformed(_)), "{bad:?}");
        }
        let mut asked = server();
        asked.step(b"n,,n=,r=abc").unwrap();
        let replayed = asked.step(b"c=biws,r=abc,p=AAAA");
        assert!(matches!(replayed, Err(ScramError::Malformed(_))), "the server's nonce is missing");
        assert!(matches!(asked.step(b"n,,n=,r=abc"), Err(ScramError::Malformed(_))));
    }

    #[test]
    fn a_client_does_not_believe_any_server() {
        let mut client = Client::new("x", [1; 18]);
        let other_nonce = client.step(b"r=abc,s=YQ==,i=4096");
        assert!(matches!(other_nonce, Err(ScramError::Malformed(_))));
        let mut client = Client::new("x", [1; 18]);
        let many = format!("r={}abc,s=YQ==,i=4000000000", BASE64.encode([1; 18]));
        assert!(matches!(client.step(many.as_bytes()), Err(ScramError::Malformed(_))));
        let mut client = Client::new("x", [1; 18]);
        let first = format!("r={}abc,s=YQ==,i=1", BASE64.encode([1; 18]));
        client.step(first.as_bytes()).unwrap();
        assert_eq!(client.step(b"v=AAAA"), Err(ScramError::WrongServer));
    }
}
