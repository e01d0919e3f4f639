use super::versions::render_diff;
use crate::diagnostic::{Diagnostic, codes};
use crate::inspect::Difference;
use crate::report::style::Style;

/// One thing that a run would do otherwise than its plan says, with how it differs.
pub fn differing(difference: &Difference) -> Diagnostic {
    let planned = ("the plan", difference.planned.as_bytes());
    let diff = render_diff(planned, ("the file", difference.present.as_bytes()), Style::default());
    Diagnostic::usage(codes::TL0774, format!("{} is not what the plan says", difference.what))
        .at(difference.place.clone())
        .help(format!("bring it back, or look at a new plan: `tl plan FILE --out PLAN`\n{}", diff.trim_end()))
}
