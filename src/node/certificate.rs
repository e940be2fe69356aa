//! The certificate of the node: its files become what connections are encrypted by.

use config::{TlsFiles, TlsVersion};
use net::server::tls::{Acceptor, Identity, IdentityError, MinimumVersion};
use rustix::process::geteuid;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Longest file that is taken for a certificate or a key.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with which file.
#[derive(Debug, thiserror::Error)]
#[error("{} = \"{}\" {reason}", .setting, .path.display())]
pub struct CertificateError {
    setting: &'static str,
    path: PathBuf,
    reason: String,
}

/// What encrypts connections in the name of the certificate in `files`.
///
/// # Errors
/// Which file is of no use, and why.
pub fn acceptor(files: &TlsFiles, minimum: TlsVersion) -> Result<Acceptor, CertificateError> {
    let minimum = match minimum {
        TlsVersion::V1_2 => MinimumVersion::Tls12,
        TlsVersion::V1_3 => MinimumVersion::Tls13,
    };
    Acceptor::new(read(files)?, minimum).map_err(|reason| about_certificate(files, reason))
}

/// Reads both files.
///
/// # Errors
/// Which file is of no use, and why.
pub fn read(files: &TlsFiles) -> Result<Identity, CertificateError> {
    let certificate = text(&files.certificate).map_err(|why| about_certificate(files, why))?;
    let key = private(&files.key).and_then(|()| text(&files.key));
    let key = key.map_err(|why| about_key(files, why))?;
    Identity::from_pem(&certificate, &key).map_err(|error| match error {
        IdentityError::Certificates(why) => about_certificate(files, why),
        IdentityError::Key(why) => about_key(files, why),
    })
}

fn about_certificate(files: &TlsFiles, reason: String) -> CertificateError {
    CertificateError { setting: "tls-certificate", path: files.certificate.clone(), reason }
}

fn about_key(files: &TlsFiles, reason: String) -> CertificateError {
    CertificateError { setting: "tls-key", path: files.key.clone(), reason }
}

/// Why a file cannot be read, without its name.
fn unreadable(error: io::Error) -> String {
    let cause = error.get_ref().and_then(|named| named.source());
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    format!("cannot be read: {cause}")
}

fn text(path: &Path) -> Result<Vec<u8>, String> {
    let length = fs_err::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("is longer than {FILE_BYTES_MAX} bytes"));
    }
    fs_err::read(path).map_err(unreadable)
}

/// A key that others can read is no secret: as PostgreSQL has it, only its owner may, and where that
/// is root, the group.
fn private(path: &Path) -> Result<(), String> {
    let about = fs_err::metadata(path).map_err(unreadable)?;
    let forbidden = match about.uid() {
        0 => 0o027,
        owner if owner == geteuid().as_raw() => 0o077,
        _ => return Err("must belong to the user that the node runs as, or to root".to_owned()),
    };
    if about.mode() & forbidden != 0 {
        return Err("can be read by others; chmod 600 mends it (640 where it is root's)".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
