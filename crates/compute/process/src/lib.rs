//! The process sandbox: launcher, shells, walls, runtimes, Runtime API.
