//! The engine of one core: the handle that routers use.

mod engine;
mod message;
mod options;
mod stream;

pub use engine::{Engine, OpenError};
pub use message::{CoreMessage, RequestId};
pub use options::EngineOptions;
pub use stream::BatchStream;
