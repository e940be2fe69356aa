//! What stands for TLS in a build without it.

use crate::Error;
use crate::url::{Options, SslMode};
use bytes::BytesMut;
use std::io;
use std::sync::Arc;

/// There is none.
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn new(options: &Options, _mode: SslMode) -> Result<Tls, Error> {
        // `Unsupported`: who only prefers TLS goes on without it.
        let cause = io::Error::new(
            io::ErrorKind::Unsupported,
            "this program was built without TLS (the feature `tls` of phantomdb-client)",
        );
        Err(Error::Connect { address: options.address(), cause: Arc::new(cause) })
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        match *self {}
    }

    pub(crate) fn seal(&mut self, _plain: &[u8], _records: &mut BytesMut) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn open(&mut self, _received: &[u8], _plain: &mut BytesMut) -> io::Result<()> {
        match *self {}
    }
}
