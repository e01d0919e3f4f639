use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::meta::{Id, Meta};

/// How many of the shallowest and how many of the deepest directories stay open. Those between are closed while the
/// walk is below them, and reopened through `..`. So no depth exhausts the file descriptors of the process.
const HELD: usize = 32;

/// A depth-first walk in byte order of names. It opens nothing by path: each directory is opened relative to the
/// previous one. So nobody can redirect the walk, and no path is too long.
pub struct Walk {
    levels: Vec<Level>,
    /// The archive path of the latest entry.
    path: Vec<u8>,
}

struct Level {
    /// `None` while closed.
    directory: Option<OwnedFd>,
    id: Id,
    /// The names still to visit.
    names: std::vec::IntoIter<CString>,
    /// The length of the path up to this directory.
    path_length: usize,
}

/// Where the walk is.
#[derive(Debug)]
pub enum Step {
    /// At an entry with this name, in [`Walk::directory`].
    Entry(CString),
    /// This many entries of a directory cannot be visited, because somebody moved the directory while the walk was deep
    /// below it. [`Walk::path`] is the directory's path.
    Lost(usize),
    /// At the end.
    End,
}

impl Walk {
    /// Starts at one entry of a directory. `path` is the archive path of the entry.
    pub fn new(directory: OwnedFd, name: CString, path: &[u8]) -> Result<Self, Errno> {
        let id = Meta::from(fstat(&directory)?).id;
        let path_length = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let names = vec![name].into_iter();
        let level = Level { directory: Some(directory), id, names, path_length };
        Ok(Self { levels: vec![level], path: path.to_vec() })
    }

    /// Goes to the next entry.
    pub fn step(&mut self) -> Step {
        loop {
            let Some(level) = self.levels.last_mut() else { return Step::End };
            self.path.truncate(level.path_length);
            if level.directory.is_none() {
                let lost = level.names.len();
                self.levels.pop();
                if lost > 0 {
                    return Step::Lost(lost);
                }
            } else if let Some(name) = level.names.next() {
                if !self.path.is_empty() {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(name.to_bytes());
                return Step::Entry(name);
            } else {
                self.leave();
            }
        }
    }

    /// The archive path of the current entry.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The directory of the current entry.
    pub fn directory(&self) -> BorrowedFd<'_> {
        let level = self.levels.last().expect("a walk at an entry is in a directory");
        level.directory.as_ref().expect("`step` opened it").as_fd()
    }

    /// The file system of that directory.
    pub fn device(&self) -> u64 {
        self.levels.last().expect("a walk at an entry is in a directory").id.device
    }

    /// Descends into the current directory.
    pub fn enter(&mut self, directory: OwnedFd, id: Id, names: Vec<CString>) {
        let (path_length, names) = (self.path.len(), names.into_iter());
        self.levels.push(Level { directory: Some(directory), id, names, path_length });
        if let Some(between) = self.levels.len().checked_sub(HELD + 1)
            && between >= HELD
        {
            self.levels[between].directory = None;
        }
    }

    /// Leaves the deepest directory, and reopens the one above it if it was closed.
    fn leave(&mut self) {
        let child = self.levels.pop().and_then(|level| level.directory);
        if let (Some(child), Some(parent)) = (child, self.levels.last_mut())
            && parent.directory.is_none()
        {
            parent.directory = open_parent(&child, parent.id);
        }
    }
}

/// Opens `..`, if it is still the directory through which the walk came.
fn open_parent(child: &OwnedFd, id: Id) -> Option<OwnedFd> {
    let parent = openat(child, "..", DIRECTORY, Mode::empty()).ok()?;
    let found = Meta::from(fstat(&parent).ok()?).id;
    (found == id).then_some(parent)
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a subdirectory, never through a symbolic link.
pub fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(parent, name, DIRECTORY, Mode::empty())
}

/// The names in a directory in byte order, and the error that ended the listing early, if any.
pub fn list(directory: BorrowedFd<'_>) -> (Vec<CString>, Option<Errno>) {
    let mut names = Vec::new();
    let mut problem = None;
    match Dir::read_from(directory) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                    Ok(entry) => names.push(entry.file_name().to_owned()),
                    Err(error) => {
                        problem = Some(error);
                        break;
                    }
                }
            }
        }
        Err(error) => problem = Some(error),
    }
    names.sort_unstable();
    (names, problem)
}

/// An archive path as patterns and sources write it, without `.`.
pub fn inside(path: &[u8]) -> &Path {
    let path = if path == b"." { b"" } else { path.strip_prefix(b"./").unwrap_or(path) };
    Path::new(OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn start(root: &Path) -> Walk {
        let parent = fs::File::open(root).unwrap().into();
        Walk::new(parent, c"a".to_owned(), b"x/a").unwrap()
    }

    /// Visits everything. Calls `seen` with each path and whether it was lost.
    fn visit(walk: &mut Walk, mut seen: impl FnMut(&Walk, Option<usize>)) {
        loop {
            match walk.step() {
                Step::End => return,
                Step::Lost(count) => seen(walk, Some(count)),
                Step::Entry(name) => {
                    seen(walk, None);
                    if let Ok(directory) = open_directory(walk.directory(), &name) {
                        let (names, problem) = list(directory.as_fd());
                        assert_eq!(problem, None);
                        let id = Meta::from(fstat(&directory).unwrap()).id;
                        walk.enter(directory, id, names);
                    }
                }
            }
        }
    }

    fn open_levels(walk: &Walk) -> usize {
        walk.levels.iter().filter(|level| level.directory.is_some()).count()
    }

    #[test]
    fn names_come_in_the_order_of_their_bytes() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        for name in ["a/b/2", "a/b-", "a/B", "a/\u{e9}", "a/~"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        let mut paths = Vec::new();
        visit(&mut start(root.path()), |walk, _| paths.push(String::from_utf8(walk.path().to_vec()).unwrap()));
        assert_eq!(paths, ["x/a", "x/a/B", "x/a/b", "x/a/b/2", "x/a/b-", "x/a/~", "x/a/\u{e9}"]);
    }

    /// Makes `a/d/d/…`, with a file `z` after each directory.
    fn deep(root: &Path, depth: usize) {
        let mut path = root.join("a");
        for _ in 0..depth {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("z"), "").unwrap();
            path.push("d");
        }
    }

    #[test]
    fn the_way_back_up_needs_few_descriptors() {
        let root = tempfile::tempdir().unwrap();
        deep(root.path(), 200);
        let (mut files, mut most) = (0, 0);
        visit(&mut start(root.path()), |walk, lost| {
            assert_eq!(lost, None);
            files += usize::from(walk.path().ends_with(b"/z"));
            most = most.max(open_levels(walk));
        });
        assert_eq!((files, most), (200, 2 * HELD));
    }

    #[test]
    fn directories_moved_from_under_the_walk_are_reported_and_the_rest_goes_on() {
        let root = tempfile::tempdir().unwrap();
        deep(root.path(), 100);
        let middle = root.path().join("a").join(["d"; 49].join("/"));
        let (mut files, mut lost) = (0, 0);
        visit(&mut start(root.path()), |walk, count| {
            if walk.path().ends_with(b"/z") && files == 0 {
                fs::rename(&middle, root.path().join("elsewhere")).unwrap();
            }
            files += usize::from(count.is_none() && walk.path().ends_with(b"/z"));
            lost += count.unwrap_or(0);
        });
        assert_eq!(files + lost, 100);
        // The closed directories above the moved one: the 33rd to the 50th of the walk.
        assert_eq!(lost, 18);
    }
}
