//! `ALTER SYSTEM`: what an operator wants of the cluster.

use super::binder::Binder;
use super::statement::PlannedKind;
use crate::cluster::wants::Wish;
use model::error::{SqlError, SqlState};

impl Binder<'_> {
    /// It is for superusers.
    pub(super) fn bind_wish(&self, wish: Wish) -> Result<PlannedKind, SqlError> {
        // Who may is asked each time.
        self.uncacheable.set(true);
        match self.catalog.roles().is_superuser(self.checked_as()) {
            true => Ok(PlannedKind::Wish(wish)),
            false => Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                "permission denied to change the cluster: must be superuser",
            )),
        }
    }
}
