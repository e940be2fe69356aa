//! Real connections over real sockets: a toy session on one core of the glommio world, and
//! clients, well-behaved and hostile, on ordinary threads.

mod asynchronous;
mod behaved;
mod hostile;
mod measure;
mod server;
