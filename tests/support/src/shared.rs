//! Test records and data that lie beside a checkout, where they exist.

use std::path::PathBuf;

/// A file or folder of the `shared` folder beside the project, or `None` where there is none (as
/// on a user's machine): the caller says what it leaves out.
pub fn shared(path: &str) -> Option<PathBuf> {
    let project = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().ok()?;
    // A clone made for a check may lie deeper than the project itself.
    let found = project.ancestors().skip(1).map(|above| above.join("shared").join(path));
    found.into_iter().find(|candidate| candidate.exists())
}
