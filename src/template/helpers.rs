//! The helpers that templates can call.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError, RenderErrorReason,
    ScopedJson,
};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::Form;
use super::clean::escape_html;
use crate::value::{human_bytes, human_duration};

pub(super) fn register(engine: &mut Handlebars<'_>, form: Form) {
    for (name, text) in [
        ("duration", duration as Text),
        ("bytes", bytes),
        ("pad", pad),
        ("time", time),
        ("json", json),
        ("emoji", emoji),
        ("colour", colour),
    ] {
        engine.register_helper(name, Box::new(Computed(text)));
    }
    match form {
        Form::Text => engine.register_helper("table", Box::new(Computed(text_table))),
        Form::Html => engine.register_helper("table", Box::new(html_table)),
    }
}

type Text = fn(&Helper<'_>) -> Result<String, RenderErrorReason>;

/// A helper that returns a text, which is escaped like any other value.
struct Computed(Text);

impl HelperDef for Computed {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        Ok(ScopedJson::Derived(Json::String((self.0)(helper)?)))
    }
}

/// A parameter. A name without a value is an error: strict mode does not cover the parameters of helpers.
fn param<'h>(helper: &'h Helper<'_>, index: usize) -> Result<&'h Json, RenderErrorReason> {
    let param = helper.param(index).ok_or(RenderErrorReason::ParamNotFoundForIndex("", index))?;
    if param.is_value_missing() {
        return Err(RenderErrorReason::MissingVariable(param.relative_path().cloned()));
    }
    Ok(param.value())
}

fn wrong(helper: &Helper<'_>, expected: &str) -> RenderErrorReason {
    RenderErrorReason::Other(format!("`{}` wants {expected}", helper.name()))
}

fn number(helper: &Helper<'_>) -> Result<f64, RenderErrorReason> {
    param(helper, 0)?.as_f64().ok_or_else(|| wrong(helper, "a number"))
}

fn duration(helper: &Helper<'_>) -> Result<String, RenderErrorReason> {
    number(helper).map(human_duration)
}

fn bytes(helper: &Helper<'_>) -> Result<String, RenderErrorReason> {
    number(helper).map(human_bytes)
}

/// The largest width that `pad` accepts.
const MAX_WIDTH: u64 = 200;

fn pad(helper: &Helper<'_>) -> Result<String, RenderErrorReason> {
    let text = as_text(param(helper, 0)?);
    let width = param(helper, 1)?.as_u64().filter(|width| *width <= MAX_WIDTH);
    let width =
        width.and_then(|width| usize::try_from(width).ok()).ok_or_else(|| wrong(helper, "a width up to 200"))?;
    Ok(format!("{text:width$}"))
}

/// `{{time at "%H:%M" "utc"}}`: an RFC 3339 time in this format, in local time unless `utc` is given.
fn time(helper: &Helper<'_>) -> Result<String, RenderErrorReason> {
    let given = param(helper, 0)?.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let given = given.ok_or_else(|| wrong(helper, "a time in RFC 3339, such as `at`"))?;
    let form = match helper.param(1) {
        Some(form) => form.value().as_str().ok_or_else(|| wrong(helper, "a form such as \"%Y-%m-%d %H:%M\""))?,
        None => "%Y-%m-%d %H:%M:%S %z",
    };
    let zone = match helper.param(2).map(|zone| zone.value().as_str()) {
        None | Some(Some("local")) => TimeZone::system(),
        Some(Some("utc")) => TimeZone::UTC,
        Some(_) => return Err(wrong(helper, "\"local\" or \"utc\" in the third place")),
    };
    strtime::format(form, &given.to_zoned(zone))
        .map_err(|error| RenderErrorReason::Other(format!("`{form}` is no form of a time: {error}")))
}

fn json(helper: &Helper<'_>) -> Result<String, RenderErrorReason> {
    param(helper, 0).map(ToString::to_string)
}

/// `{{emoji when}}`: the emoji of an outcome.
fn emoji(helper: &Helper<'_>) -> Result<String, RenderErrorReason> {
    let sign = match param(helper, 0)?.as_str().unwrap_or_default() {
        "started" => "\u{25b6}\u{fe0f}",
        "success" => "\u{2705}",
        "warning" => "\u{26a0}\u{fe0f}",
        "failure" => "\u{274c}",
        "skipped" => "\u{23ed}\u{fe0f}",
        "cancelled" => "\u{1f6d1}",
        "blocked" => "\u{26d4}",
        "recovered" => "\u{1f49a}",
        "stale" => "\u{23f0}",
        _ => "\u{1f514}",
    };
    Ok(sign.to_owned())
}

fn as_text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// Result, name, size, time and detail of a stage, each without line ends.
fn cells(stage: &Json) -> [String; 5] {
    let text = |key: &str| as_text(&stage[key]).replace(['\n', '\r'], " ");
    let number = |key: &str, form: fn(f64) -> String| stage[key].as_f64().map(form).unwrap_or_default();
    [text("result"), text("name"), number("bytes", human_bytes), number("seconds", human_duration), text("detail")]
}

fn rows(helper: &Helper<'_>) -> Result<Vec<[String; 5]>, RenderErrorReason> {
    let stages = param(helper, 0)?.as_array().ok_or_else(|| wrong(helper, "a list such as `stages`"))?;
    Ok(stages.iter().map(cells).collect())
}

/// `{{table stages}}` as text in columns, without empty columns.
fn text_table(helper: &Helper<'_>) -> Result<String, RenderErrorReason> {
    let rows = rows(helper)?;
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 5]| {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate().filter(|(_, (_, width))| **width > 0) {
            // Sizes and times are aligned to the right.
            let cell = if matches!(column, 2 | 3) { format!("{cell:>width$}") } else { format!("{cell:width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        line.trim_end().to_owned()
    };
    Ok(rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// `{{colour when}}`: the colour of an outcome, for styles.
fn colour(helper: &Helper<'_>) -> Result<String, RenderErrorReason> {
    Ok(colour_of(param(helper, 0)?.as_str().unwrap_or_default()).to_owned())
}

/// The colour of a result, readable on white.
fn colour_of(result: &str) -> &'static str {
    match result {
        "success" | "recovered" => "#1a7f37",
        "warning" => "#9a6700",
        "failure" | "blocked" | "stale" => "#cf222e",
        _ => "#57606a",
    }
}

fn html_table(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    out.write("<table style=\"border-collapse:collapse\">\n")?;
    for row in rows(helper)? {
        let mut line = "<tr>".to_owned();
        for (column, cell) in row.iter().enumerate() {
            let style = match column {
                0 => format!("color:{};font-weight:bold", colour_of(cell)),
                2 | 3 => "text-align:right".to_owned(),
                _ => "text-align:left".to_owned(),
            };
            line.push_str(&format!("<td style=\"padding:2px 12px 2px 0;{style}\">{}</td>", escape_html(cell)));
        }
        out.write(&format!("{line}</tr>\n"))?;
    }
    out.write("</table>")?;
    Ok(())
}
