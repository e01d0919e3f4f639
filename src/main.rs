//! The binary `tl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(timelocker::cli::main(std::env::args_os()))
}
