use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A named group of patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// What programs keep to be faster and make again: `.cache/`, `__pycache__/`, `node_modules/.cache/`.
    Caches,
    /// What version control keeps: `.git/`, `.hg/`, `.svn/`.
    VcsObjects,
    /// Texts, tables and slides: `*.odt`, `*.docx`, `*.pdf`.
    OfficeDocuments,
    /// What is not meant to stay: `*.tmp`, `*.swp`, `*~`.
    TemporaryFiles,
    /// Pictures, sound and film: `*.jpg`, `*.mp3`, `*.mkv`.
    MediaFiles,
    /// Texts of programs: `*.rs`, `*.py`, `*.c`.
    SourceCode,
}

impl Group {
    const ALL: [Self; 6] = [
        Self::Caches,
        Self::VcsObjects,
        Self::OfficeDocuments,
        Self::TemporaryFiles,
        Self::MediaFiles,
        Self::SourceCode,
    ];

    /// Whether a group has this name.
    pub(super) fn is_name(name: &str) -> bool {
        Self::ALL.iter().any(|group| group.name() == name)
    }

    /// Its name in pipeline files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caches => "caches",
            Self::VcsObjects => "vcs-objects",
            Self::OfficeDocuments => "office-documents",
            Self::TemporaryFiles => "temporary-files",
            Self::MediaFiles => "media-files",
            Self::SourceCode => "source-code",
        }
    }

    /// Its patterns.
    pub fn patterns(self) -> &'static [&'static str] {
        match self {
            Self::Caches => CACHES,
            Self::VcsObjects => VCS_OBJECTS,
            Self::OfficeDocuments => OFFICE_DOCUMENTS,
            Self::TemporaryFiles => TEMPORARY_FILES,
            Self::MediaFiles => MEDIA_FILES,
            Self::SourceCode => SOURCE_CODE,
        }
    }
}

const CACHES: &[&str] = &[
    ".cache/",
    ".ccache/",
    ".npm/_cacache/",
    ".cargo/registry/",
    ".gradle/caches/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".tox/",
    "__pycache__/",
    "node_modules/.cache/",
    ".thumbnails/",
    "Cache/",
    "CacheStorage/",
    "Code Cache/",
    "GPUCache/",
];
const VCS_OBJECTS: &[&str] = &[".git/", ".hg/", ".svn/", ".bzr/", ".jj/", "CVS/", "_darcs/"];
const OFFICE_DOCUMENTS: &[&str] = &[
    "*.[dD][oO][cC]",
    "*.[dD][oO][cC][xXmM]",
    "*.[xX][lL][sS]",
    "*.[xX][lL][sS][xXmMbB]",
    "*.[pP][pP][tT]",
    "*.[pP][pP][tT][xXmM]",
    "*.[oO][dD][tTsSpPgG]",
    "*.[pP][dD][fF]",
    "*.[rR][tT][fF]",
    "*.[cC][sS][vV]",
    "*.[eE][pP][uU][bB]",
];
const TEMPORARY_FILES: &[&str] = &[
    "*.tmp",
    "*.temp",
    "*.swp",
    "*.swo",
    "*.bak",
    "*~",
    "~$*",
    ".#*",
    "\\#*\\#",
    "*.part",
    "*.crdownload",
    "*.pid",
    "*.lock",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
];
const MEDIA_FILES: &[&str] = &[
    "*.[jJ][pP][gG]",
    "*.[jJ][pP][eE][gG]",
    "*.[pP][nN][gG]",
    "*.[gG][iI][fF]",
    "*.[wW][eE][bB][pPmM]",
    "*.[tT][iI][fF]",
    "*.[tT][iI][fF][fF]",
    "*.[hH][eE][iI][cCfF]",
    "*.[rR][aA][wW]",
    "*.[cC][rR][23]",
    "*.[nN][eE][fF]",
    "*.[mM][pP][34]",
    "*.[mM]4[aAvV]",
    "*.[fF][lL][aA][cC]",
    "*.[oO][gG][gGvV]",
    "*.[oO][pP][uU][sS]",
    "*.[wW][aA][vV]",
    "*.[mM][kK][vV]",
    "*.[mM][oO][vV]",
    "*.[aA][vV][iI]",
    "*.[mM][pP][gG]",
    "*.[mM][pP][eE][gG]",
    "*.[wW][mM][aAvV]",
];
const SOURCE_CODE: &[&str] = &[
    "*.rs",
    "*.py",
    "*.c",
    "*.h",
    "*.cc",
    "*.cpp",
    "*.hpp",
    "*.cs",
    "*.go",
    "*.java",
    "*.kt",
    "*.swift",
    "*.js",
    "*.jsx",
    "*.mjs",
    "*.ts",
    "*.tsx",
    "*.rb",
    "*.php",
    "*.pl",
    "*.sh",
    "*.bash",
    "*.sql",
    "*.html",
    "*.css",
    "*.scss",
    "*.lua",
    "*.hs",
    "*.ml",
    "*.scala",
    "*.r",
    "*.R",
    "*.zig",
    "Makefile",
    "CMakeLists.txt",
    "Dockerfile",
];
