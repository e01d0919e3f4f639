use super::versions::render_diff;
use crate::diagnostic::{Diagnostic, codes};
use crate::inspect::Difference;
use crate::report::style::Style;

/// The error for one way in which a run would differ from its plan, with a diff.
pub fn plan_difference(difference: &Difference) -> Diagnostic {
    let planned = ("the plan", difference.planned.as_bytes());
    let diff = render_diff(planned, ("the file", difference.present.as_bytes()), Style::default());
    Diagnostic::usage(codes::TL0774, format!("{} is not what the plan says", difference.what))
        .at(difference.place.clone())
        .help(format!("bring it back, or look at a new plan: `tl plan FILE --out PLAN`\n{}", diff.trim_end()))
}
