use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A stable number for one kind of problem, written `TL0207`. A number is never used again for another meaning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// Reads `TL0207`. `None` if the text is not `TL` and four digits.
    const fn parse(text: &str) -> Option<Self> {
        let &[b'T', b'L', a, b, c, d] = text.as_bytes() else { return None };
        let digits = [a, b, c, d];
        let mut number = 0;
        let mut at = 0;
        while at < digits.len() {
            if !digits[at].is_ascii_digit() {
                return None;
            }
            number = number * 10 + (digits[at] - b'0') as u16;
            at += 1;
        }
        Some(Self(number))
    }
}

/// A text that is not a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code is `TL` and four digits, such as `TL0207`")]
pub struct CodeError;

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        Self::parse(text).ok_or(CodeError)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("TL{:04}", self.0))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Code {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// Hands every code to another macro: the one list of codes. Each has a text in `explain/codes/`. A number that is missing
/// here was used by an earlier release (`TL0614`, `TL0661`) and stays free.
macro_rules! with_every_code {
    ($then:ident) => {
        $then! {
            TL0001 TL0002 TL0003 TL0004 TL0005 TL0006 TL0007 TL0008 TL0009 TL0010 TL0011 TL0012 TL0101 TL0102
            TL0103 TL0104 TL0105 TL0201 TL0202 TL0203 TL0204 TL0205 TL0206 TL0207 TL0208 TL0209 TL0210 TL0211
            TL0212
            TL0301 TL0302 TL0303 TL0304 TL0305 TL0306 TL0307 TL0308 TL0309 TL0310 TL0311 TL0312 TL0313 TL0314
            TL0315 TL0317 TL0318 TL0319 TL0320 TL0401 TL0402 TL0403 TL0404 TL0405 TL0406 TL0407 TL0408 TL0409 TL0410
            TL0411 TL0412 TL0413 TL0414 TL0501 TL0502 TL0503 TL0504 TL0510 TL0511 TL0512 TL0513 TL0514 TL0515
            TL0516 TL0517 TL0601 TL0602 TL0603 TL0604 TL0605 TL0606 TL0607 TL0608 TL0609 TL0610 TL0611 TL0612 TL0613
            TL0615 TL0616 TL0617 TL0620 TL0621 TL0622 TL0623 TL0624 TL0630 TL0631 TL0632 TL0633 TL0634 TL0635 TL0636 TL0637
            TL0638 TL0639 TL0640 TL0641 TL0642 TL0643 TL0644 TL0645 TL0646 TL0647 TL0648 TL0649 TL0650 TL0651
            TL0652 TL0653 TL0654 TL0655 TL0656 TL0657 TL0658 TL0659 TL0660 TL0670 TL0671 TL0672 TL0673
            TL0674 TL0675 TL0676 TL0701 TL0702 TL0703 TL0704 TL0705 TL0706 TL0707 TL0708 TL0709 TL0710 TL0711
            TL0712 TL0713 TL0714 TL0716 TL0717 TL0718 TL0719 TL0720 TL0721 TL0722 TL0725 TL0726 TL0728 TL0735
            TL0736 TL0737 TL0738 TL0739 TL0740 TL0741 TL0742 TL0743 TL0744 TL0745 TL0746 TL0747 TL0748 TL0752
            TL0753 TL0754 TL0755 TL0760 TL0761 TL0762 TL0763 TL0764 TL0770 TL0771 TL0772 TL0773 TL0774 TL0775
            TL0776 TL0777 TL0780 TL0781 TL0782 TL0783 TL0784 TL0785 TL0790 TL0801 TL0802 TL0803 TL0804 TL0805 TL0806 TL0807 TL0808 TL0809
            TL0901 TL0902 TL0903
        }
    };
}
pub(crate) use with_every_code;

macro_rules! constants {
    ($($name:ident)*) => {
        /// Every code, each as a constant of its own name.
        #[expect(missing_docs, reason = "`tl explain` has a page for each")]
        pub mod codes {
            use super::Code;

            $(pub const $name: Code = Code::parse(stringify!($name)).expect("the list holds codes");)*
        }
    };
}
with_every_code!(constants);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_back() {
        assert_eq!(codes::TL0207.to_string(), "TL0207");
        assert_eq!("TL0207".parse(), Ok(codes::TL0207));
        assert_eq!(serde_json::from_str::<Code>("\"TL0207\"").unwrap(), codes::TL0207);
        for text in ["", "TL", "TL207", "TL02077", "tl0207", "TL02o7", "TL+207"] {
            assert_eq!(text.parse::<Code>(), Err(CodeError), "{text}");
        }
    }
}
