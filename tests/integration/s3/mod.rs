//! Stores of kind `s3`: against a server that fails as it is told, and against servers of others.

mod fault;
