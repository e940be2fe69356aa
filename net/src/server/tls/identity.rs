//! Who the server is: a chain of certificates and the key of the first.

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// The cryptography: ring, which a C compiler builds.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A chain of certificates and the key of the first.
pub struct Identity(CertifiedKey);

/// What is wrong with one of the two files, as a sentence that goes on from its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// With the certificates.
    #[error("{0}")]
    Certificates(String),
    /// With the key.
    #[error("{0}")]
    Key(String),
}

impl Identity {
    /// Reads both in PEM form: the server's certificate first, then those between it and the root;
    /// and its key (PKCS #8, PKCS #1 or SEC 1, not encrypted).
    ///
    /// # Errors
    /// What is wrong, with which of them.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Identity, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| IdentityError::Certificates(format!("is not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(IdentityError::Certificates("holds no certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| no_key(key, &error))?;
        let key = provider().key_provider.load_private_key(key).map_err(|error| {
            IdentityError::Key(format!(
                "holds a key that is not supported (RSA of 2048 bits or more, ECDSA P-256 or \
                 P-384, Ed25519 are): {error}"
            ))
        })?;
        let identity = CertifiedKey::new(chain, key);
        match identity.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Identity(identity))
            }
            Err(Error::InconsistentKeys(_)) => Err(IdentityError::Key(
                "holds a key that is not that of the first certificate".to_owned(),
            )),
            Err(error) => Err(IdentityError::Certificates(format!(
                "holds a certificate that cannot be read: {error}"
            ))),
        }
    }
}

fn no_key(text: &[u8], error: &pem::Error) -> IdentityError {
    const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    IdentityError::Key(match error {
        _ if text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) => {
            "holds an encrypted key, and nobody is there to give its passphrase".to_owned()
        }
        pem::Error::NoItemsFound => "holds no private key".to_owned(),
        error => format!("is not PEM: {error}"),
    })
}

/// The identity that is presented now. Shared by the cores, and looked at once a handshake.
pub(super) struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    pub(super) fn new(identity: Identity) -> Current {
        Current(RwLock::new(Arc::new(identity.0)))
    }

    pub(super) fn replace(&self, identity: Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity.0);
    }
}

/// The public key of RSA with 2,048 bits has 294 bytes in its wrapping, the next longer in use 422.
const RSA_BYTES_QUICK: usize = 300;

impl Current {
    /// Whether a signature takes so long that no core should be kept by it: RSA of more than 2,048
    /// bits.
    pub(super) fn is_slow(&self) -> bool {
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner).key.clone();
        let bytes = key.public_key().map_or(usize::MAX, |public| public.as_ref().len());
        key.algorithm() == SignatureAlgorithm::RSA && bytes > RSA_BYTES_QUICK
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
