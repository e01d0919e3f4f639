use crate::explain::{Example, Explanation};
use crate::report::style::Style;

/// What a code means, with a wrong and a right example.
pub fn render_explanation(explanation: &Explanation, style: Style) -> String {
    let Explanation { code, title, cause, wrong, right } = explanation;
    format!(
        "{}: {title}\n\n{cause}\n\n{}\n{}\n{}\n{}",
        style.blue(&code.to_string()),
        style.red("Wrong"),
        render_example(wrong, style),
        style.green("Right"),
        render_example(right, style),
    )
}

fn render_example(example: &Example, style: Style) -> String {
    let mut text = String::new();
    for file in &example.files {
        text.push_str(&format!("\n  {}\n", style.faint(file.name)));
        for line in file.text.lines() {
            text.push_str(format!("    {line}").trim_end());
            text.push('\n');
        }
    }
    text.push('\n');
    for command in &example.commands {
        text.push_str(&format!("  $ {command}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::find;

    #[test]
    fn colours_add_nothing_but_themselves() {
        let explanation = find("TL0207").unwrap();
        let coloured = render_explanation(explanation, Style { colour: true, ..Style::default() });
        let plain = render_explanation(explanation, Style::default());
        assert!(coloured.contains("\x1b[1;31mWrong\x1b[0m") && !plain.contains('\x1b'), "{coloured}");
        let without = ["\x1b[1;31m", "\x1b[1;32m", "\x1b[1;34m", "\x1b[2m", "\x1b[0m"];
        assert_eq!(without.iter().fold(coloured, |text, escape| text.replace(escape, "")), plain);
    }
}
