/// How text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// With signs that are not ASCII.
    pub unicode: bool,
}

impl Style {
    /// A text in bold red, where there are colours.
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// In bold yellow.
    pub fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// In bold green.
    pub fn green(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    /// In blue.
    pub fn blue(self, text: &str) -> String {
        self.paint("1;34", text)
    }

    /// Faint.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// The signs to draw with.
    pub(super) fn signs(self) -> &'static Signs {
        Signs::of(self.unicode)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What the environment says of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terminal {
    /// Whether it shows colours, if it is one.
    pub(super) colour: bool,
    /// Whether it shows more than ASCII.
    pub(super) unicode: bool,
}

impl Terminal {
    /// Reads the environment. `NO_COLOR` follows no-color.org; the locale is chosen as setlocale(3) does.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
        let speaks_utf8 = locale.contains("utf-8") || locale.contains("utf8");
        Self {
            colour: set("NO_COLOR").is_none() && term != "dumb",
            // The font of the Linux console has few signs.
            unicode: speaks_utf8 && !matches!(term.as_str(), "dumb" | "linux"),
        }
    }
}

/// The signs that trees and tables are drawn with.
#[derive(Debug)]
pub(super) struct Signs {
    /// The end of a text that was cut.
    pub(super) dots: &'static str,
    /// The frames of the spinner.
    pub(super) turning: &'static [&'static str],
    /// The branch to a node that others follow, and the line below it.
    more: (&'static str, &'static str),
    /// The branch to the last node, and the blank below it.
    last: (&'static str, &'static str),
}

const UNICODE: Signs = Signs {
    dots: "…",
    turning: &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
    more: ("├─ ", "│  "),
    last: ("└─ ", "   "),
};

const ASCII: Signs = Signs { dots: "...", turning: &["|", "/", "-", "\\"], more: ("|- ", "|  "), last: ("`- ", "   ") };

impl Signs {
    pub(super) fn of(unicode: bool) -> &'static Self {
        if unicode { &UNICODE } else { &ASCII }
    }

    /// The prefix of a node, and the prefix of the nodes below it.
    pub(super) fn branches(&self, is_last: bool) -> (&'static str, &'static str) {
        if is_last { self.last } else { self.more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> (bool, bool) {
        let variable =
            |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        let Terminal { colour, unicode } = Terminal::of(variable);
        (colour, unicode)
    }

    #[test]
    fn signs_and_colours_are_those_that_a_terminal_has() {
        for (variables, colour, unicode) in [
            (&[][..], true, false),
            (&[("LANG", "en_US.UTF-8")], true, true),
            (&[("LANG", "C.utf8"), ("TERM", "xterm-256color")], true, true),
            (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")], true, false),
            (&[("LANG", "C"), ("LC_CTYPE", "de_DE.UTF-8")], true, true),
            (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "")], true, true),
            (&[("LANG", "de_DE.ISO-8859-1")], true, false),
            (&[("LANG", "C.UTF-8"), ("TERM", "linux")], true, false),
            (&[("LANG", "C.UTF-8"), ("TERM", "dumb")], false, false),
            (&[("LANG", "C.UTF-8"), ("NO_COLOR", "1")], false, true),
            (&[("NO_COLOR", "")], true, false),
        ] {
            assert_eq!(of(variables), (colour, unicode), "{variables:?}");
        }
    }
}
