mod bytes;
mod scenarios;
mod world;
