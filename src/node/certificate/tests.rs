use super::*;
use std::os::unix::fs::PermissionsExt;

/// A certificate for `localhost` and its key, in files of `directory`.
fn files(directory: &Path, mode: u32) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let files =
        TlsFiles { certificate: directory.join("node.pem"), key: directory.join("node.key") };
    fs_err::write(&files.certificate, made.cert.pem()).expect("a file");
    fs_err::write(&files.key, made.signing_key.serialize_pem()).expect("a file");
    let permissions = std::fs::Permissions::from_mode(mode);
    fs_err::set_permissions(&files.key, permissions).expect("permissions");
    files
}

/// What is said about files that are of no use.
fn refused(files: &TlsFiles) -> String {
    read(files).err().expect("it is refused").to_string()
}

#[test]
fn a_certificate_and_its_key_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = files(directory.path(), 0o600);
    acceptor(&files, TlsVersion::V1_2).expect("it can be used");
    acceptor(&files, TlsVersion::V1_3).expect("it can be used");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = refused(&files(directory.path(), 0o644));
    assert!(said.starts_with("tls-key = ") && said.contains("chmod 600"), "{said}");
}

#[test]
fn the_file_that_is_of_no_use_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let good = files(directory.path(), 0o600);
    let said = refused(&TlsFiles { certificate: "/nowhere/node.pem".into(), ..good.clone() });
    assert!(said.contains("tls-certificate") && said.contains("/nowhere/node.pem"), "{said}");
    let swapped = TlsFiles { certificate: good.key.clone(), key: good.key.clone() };
    let said = refused(&swapped);
    assert!(said.contains("tls-certificate") && said.contains("no certificate"), "{said}");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let other = files(elsewhere.path(), 0o600);
    let said = refused(&TlsFiles { key: other.key, ..good });
    assert!(said.starts_with("tls-key") && said.contains("first certificate"), "{said}");
}
