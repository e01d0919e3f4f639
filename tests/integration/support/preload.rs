//! Libraries for `LD_PRELOAD`: a disk that fails, a file system that hangs, a clock that jumps below a program.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use super::repository::root;

/// A library of the folder `preload`, made by the C compiler of the machine, for `LD_PRELOAD`.
pub fn preloaded(name: &str) -> PathBuf {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    let library = FOLDER.path().join(format!("{name}.so"));
    if !library.exists() {
        let source = root().join(format!("tests/integration/support/preload/{name}.c"));
        let mut made = Command::new("cc");
        made.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        assert!(made.status().unwrap().success(), "a C compiler is needed: `cc`");
    }
    library
}
