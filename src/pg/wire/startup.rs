//! What a client sends before it is let in: packets without a kind.

use super::{Reader, Text, WireError};
use bytes::{Buf, BytesMut};

/// Longest start-up packet, in bytes, as PostgreSQL has it.
pub const PACKET_BYTES_MAX: usize = 10_000;

/// The one version of the protocol that is spoken.
const VERSION_MAJOR: u16 = 3;
/// "Versions" that are no versions have this where the major one stands.
const REQUEST: u16 = 1234;
const CANCEL: u16 = 5678;
/// [`Packet::EncryptTls`]
pub const ENCRYPT_TLS: u16 = 5679;
/// [`Packet::EncryptGss`]
pub const ENCRYPT_GSS: u16 = 5680;

/// A packet that begins a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// May this connection be encrypted by TLS? Answered by one byte.
    EncryptTls,
    /// May this connection be encrypted by GSSAPI? Answered by one byte.
    EncryptGss,
    /// Stop what another session does; the connection ends with it.
    Cancel {
        /// The session, as it was told.
        process: u32,
        /// Its secret.
        secret: u32,
    },
    /// Let me in.
    Startup(Startup),
}

/// The beginning of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// Minor version that the client asks for.
    pub minor: u16,
    /// Names and values: `user`, `database`, `options`, settings.
    pub parameters: Vec<(Text, Text)>,
}

impl Startup {
    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }

    /// Options of the protocol, which are not known here and may be left out.
    pub fn protocol_options(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(name, _)| &**name).filter(|name| name.starts_with("_pq_."))
    }
}

/// What a request about encryption is where it has no place: a version that is not spoken.
pub fn version_error(request: u16) -> WireError {
    WireError::Version { major: REQUEST, minor: request }
}

/// Cuts the packet that begins `buffer` off it; `None` while it is not all there.
///
/// # Errors
/// It is none.
pub fn cut(buffer: &mut BytesMut) -> Result<Option<Packet>, WireError> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let length = usize::try_from(length).map_err(|_| WireError::Length)?;
    if !(8..=PACKET_BYTES_MAX).contains(&length) {
        return Err(WireError::Length);
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut packet = buffer.split_to(length).freeze();
    packet.advance(4);
    let mut reader = Reader::new(packet);
    let major = reader.int16()? as u16;
    let minor = reader.int16()? as u16;
    let packet = match (major, minor) {
        (REQUEST, ENCRYPT_TLS) => Packet::EncryptTls,
        (REQUEST, ENCRYPT_GSS) => Packet::EncryptGss,
        (REQUEST, CANCEL) => {
            Packet::Cancel { process: reader.int32()? as u32, secret: reader.int32()? as u32 }
        }
        (VERSION_MAJOR, minor) => {
            Packet::Startup(Startup { minor, parameters: parameters(&mut reader)? })
        }
        (major, minor) => return Err(WireError::Version { major, minor }),
    };
    reader.end(packet).map(Some).map_err(|_| WireError::Startup)
}

fn parameters(reader: &mut Reader) -> Result<Vec<(Text, Text)>, WireError> {
    let mut parameters = Vec::new();
    loop {
        let name = text(reader)?;
        if name.is_empty() {
            return Ok(parameters);
        }
        parameters.push((name, text(reader)?));
    }
}

fn text(reader: &mut Reader) -> Result<Text, WireError> {
    reader.text().map_err(|error| match error {
        WireError::Format => WireError::Startup,
        other => other,
    })
}

/// The settings in the parameter `options`: `-c name=value` and `--name=value`, with backslashes
/// before what is to stand for itself.
///
/// # Errors
/// The word that is no setting.
pub fn settings(options: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(options);
    let mut words = words.iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => setting,
            None => match word.strip_prefix("-c") {
                Some("") => words.next().ok_or_else(|| word.clone())?,
                Some(setting) => setting,
                None => return Err(word.clone()),
            },
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| setting.to_owned())?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.get_or_insert_default().extend(letters.next()),
            space if space.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(version: [u16; 2], rest: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&(rest.len() as u32 + 8).to_be_bytes());
        version.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn a_start_is_read() {
        let mut bytes = packet([3, 0], b"user\0ann\0database\0shop\0_pq_.x\0y\0\0");
        let Ok(Some(Packet::Startup(startup))) = cut(&mut bytes) else { panic!("a start") };
        assert_eq!(startup.parameter("user"), Some("ann"));
        assert_eq!(startup.parameter("database"), Some("shop"));
        assert_eq!(startup.parameter("options"), None);
        assert_eq!(startup.protocol_options().collect::<Vec<_>>(), ["_pq_.x"]);
    }

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(cut(&mut packet([1234, 5679], b"")), Ok(Some(Packet::EncryptTls)));
        assert_eq!(cut(&mut packet([1234, 5680], b"")), Ok(Some(Packet::EncryptGss)));
        let cancel = Packet::Cancel { process: 7, secret: 0xffff_ffff };
        let bytes = b"\0\0\0\x07\xff\xff\xff\xff";
        assert_eq!(cut(&mut packet([1234, 5678], bytes)), Ok(Some(cancel)));
    }

    #[test]
    fn what_is_no_start_is_refused() {
        assert_eq!(cut(&mut BytesMut::from(&b"GET / HTTP/1.1"[..])), Err(WireError::Length));
        assert_eq!(cut(&mut BytesMut::from(&[0, 0, 0, 7][..])), Err(WireError::Length));
        let version = WireError::Version { major: 2, minor: 0 };
        assert_eq!(cut(&mut packet([2, 0], b"")), Err(version));
        assert_eq!(cut(&mut packet([3, 0], b"user\0ann\0")), Err(WireError::Startup));
        assert_eq!(cut(&mut packet([3, 0], b"\0more")), Err(WireError::Startup));
        assert_eq!(cut(&mut BytesMut::from(&[0, 0, 0][..])), Ok(None));
    }

    #[test]
    fn options_are_settings() {
        let read = settings(r"-c geqo=off -cstatement_timeout=5min --search-path=a\ b").unwrap();
        let expected = [("geqo", "off"), ("statement_timeout", "5min"), ("search_path", "a b")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read, expected);
        assert_eq!(settings("-x"), Err("-x".to_owned()));
        assert_eq!(settings("-c"), Err("-c".to_owned()));
    }
}
