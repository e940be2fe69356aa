//! What every part of PhantomDB speaks of: ids, time, values, rows, schemas, plans, commands; no I/O, no async.
