//! What a statement about roles says in clear becomes what is stored of it.
//!
//! Making a verifier takes thousands of hashes: it is done in short steps, between which the core
//! does its other work. The password itself goes no further than this.

use super::run::now_micros;
use crate::catalog::stored::{SaltSecret, StoredVerifier};
use crate::sql::ddl::role::{NewPassword, RoleStatement, ValidUntil};
use model::error::SqlError;
use net::scram::{ROUNDS, SALT_BYTES, Stretching, Verifier};
use runtime::{random, task};

/// Hashes of one step: some tens of microseconds.
const ROUNDS_PER_STEP: u32 = 64;

/// Seals the password of a statement and settles its points in time; what the client is told.
pub(super) async fn seal(statement: &mut RoleStatement) -> Result<Option<&'static str>, SqlError> {
    let Some(options) = statement.options_mut() else { return Ok(None) };
    if let Some(ValidUntil::Written(text)) = &options.valid_until {
        options.valid_until = Some(ValidUntil::read(text, now_micros())?);
    }
    let Some(NewPassword::Clear(password)) = &options.password else { return Ok(None) };
    if password.0.is_empty() {
        options.password = Some(NewPassword::None);
        return Ok(Some("empty string is not a valid password, clearing password"));
    }
    if is_md5(&password.0) {
        return Err(SqlError::unsupported("a password hashed by MD5"));
    }
    let verifier = match Verifier::parse(&password.0) {
        Some(verifier) => verifier,
        None => stretched(&password.0).await,
    };
    let mut salts = SaltSecret { bytes: [0; 32] };
    random::fill_secret(&mut salts.bytes);
    let verifier = StoredVerifier(verifier.to_string());
    options.password = Some(NewPassword::Sealed { verifier, salts });
    Ok(None)
}

async fn stretched(password: &str) -> Verifier {
    let mut salt = [0; SALT_BYTES];
    random::fill_secret(&mut salt);
    let mut stretching = Stretching::new(password, &salt, ROUNDS);
    while !stretching.advance(ROUNDS_PER_STEP) {
        task::yield_now().await;
    }
    stretching.finish()
}

/// The form in which PostgreSQL takes a password that was hashed before.
fn is_md5(password: &str) -> bool {
    password.strip_prefix("md5").is_some_and(|digits| {
        digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}
