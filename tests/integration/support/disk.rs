//! A small disk of its own, on which there is soon no room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk of its own, gone with the test.
#[cfg(feature = "peers")]
pub struct Disk(PathBuf);

impl Disk {
    pub fn new(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(path).status().unwrap();
        assert!(mounted.success(), "a tmpfs could not be mounted: run as root");
        Self(path.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}
