//! `net/vectors` says what the bytes are. After a deliberate change of the format (a new version
//! of the protocol), run with `PHANTOM_WRITE_VECTORS=1` and read the difference.

use crate::samples;
use bytes::Bytes;
use net::frame::{FrameDecoder, FrameError, Kind};
use net::message::{ClientMessage, NodeMessage, ServerMessage};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Comment lines begin with `#`; the rest is hexadecimal, spaces ignored.
pub fn parse(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .map(|c| c.to_digit(16).expect("hexadecimal") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn print(about: &str, bytes: &[u8]) -> String {
    let mut text =
        format!("# {about}\n# header: length, kind, flags, reserved, stream, checksum\n");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    let (header, payload) = bytes.split_at(16);
    text += &format!("{}\n# payload\n", hex(header));
    for line in payload.chunks(32) {
        text += &format!("{}\n", hex(line));
    }
    text
}

/// Every vector in the folder, by name.
pub fn read(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut vectors: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, parse(&std::fs::read_to_string(path).unwrap()))
        })
        .collect();
    vectors.sort();
    vectors
}

/// The vectors in a folder are these samples; how many there are.
fn check_written(folder: &Path, samples: Vec<samples::Sample>) -> usize {
    let mut names = Vec::new();
    for sample in samples {
        let path = folder.join(format!("{}.hex", sample.name));
        if std::env::var_os("PHANTOM_WRITE_VECTORS").is_some() {
            std::fs::write(&path, print(sample.about, &sample.bytes)).unwrap();
        }
        let golden = parse(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(sample.bytes, golden, "{}", sample.name);
        names.push(sample.name.to_owned());
    }
    names.sort();
    let found: Vec<_> = read(folder).into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, names, "each vector has a sample");
    names.len()
}

#[test]
fn messages_are_written_as_the_vectors_say() {
    let of_clients = Kind::ALL.iter().filter(|kind| !kind.is_of_nodes()).count();
    let vectors = check_written(&folder(), samples::all());
    assert_eq!(vectors, of_clients + 2, "each kind has a vector, Authenticate one a step");
}

#[test]
fn messages_between_nodes_are_written_and_read_as_the_vectors_say() {
    let folder = folder().join("nodes");
    let of_nodes = Kind::ALL.iter().filter(|kind| kind.is_of_nodes()).count();
    assert_eq!(check_written(&folder, samples::nodes_as_frames()), of_nodes);
    for (name, bytes) in read(&folder) {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.feed(Bytes::from(bytes));
        let frame = decoder.next_frame().unwrap().unwrap();
        let expected = samples::nodes().into_iter().find(|sample| sample.0 == name).unwrap();
        let message = NodeMessage::read(&frame).unwrap();
        assert_eq!((frame.stream.0, message), (expected.2, expected.3), "{name}");
    }
}

#[test]
fn vectors_are_read_as_what_they_are() {
    for (name, bytes) in read(&folder()) {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.feed(Bytes::from(bytes));
        let frame = decoder.next_frame().unwrap().unwrap();
        if (frame.kind as u8) < 64 {
            let message = ClientMessage::read(&frame).unwrap();
            let expected = samples::client().into_iter().find(|sample| sample.0 == name).unwrap();
            assert_eq!((frame.stream.0, message), (expected.2, expected.3), "{name}");
            continue;
        }
        match ServerMessage::read(&frame).unwrap() {
            ServerMessage::Rows(batch) => {
                let values = samples::values();
                let reversed = values.iter().rev().cloned().collect();
                assert_eq!(batch.to_rows().unwrap(), [values, reversed]);
            }
            message => {
                let expected =
                    samples::server().into_iter().find(|sample| sample.0 == name).unwrap();
                assert_eq!((frame.stream.0, frame.end), (expected.2, expected.3), "{name}");
                assert_eq!(message, expected.4, "{name}");
            }
        }
    }
}

#[test]
fn broken_vectors_are_refused() {
    let vectors = read(&folder().join("refused"));
    assert!(vectors.len() >= 10, "{}", vectors.len());
    for (name, bytes) in vectors {
        let mut decoder = FrameDecoder::new(net::frame::PAYLOAD_MAX_DEFAULT);
        decoder.feed(Bytes::from(bytes));
        let refused = match decoder.next_frame() {
            // For the reason it is there for, not for a checksum that does not fit.
            Err(FrameError::Checksum { .. }) => name == "wrong_checksum",
            Err(_) => true,
            Ok(None) => panic!("{name} is not complete"),
            Ok(Some(frame)) if (frame.kind as u8) < 64 => ClientMessage::read(&frame).is_err(),
            Ok(Some(frame)) => match ServerMessage::read(&frame) {
                Ok(ServerMessage::Rows(batch)) => batch.to_rows().is_err(),
                message => message.is_err(),
            },
        };
        assert!(refused, "{name}");
    }
}
