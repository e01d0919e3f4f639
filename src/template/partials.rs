//! Reads the partials that a template includes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use handlebars::template::{Parameter, TemplateElement};
use handlebars::{Path as HandlebarsPath, Template as Parsed};

use super::Error;
use super::error::{MAIN, syntax_error};

/// Reads a template file, with `\n` for every line end.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(text.replace("\r\n", "\n"))
}

/// Every partial that a text includes, directly or through others. Fails if one includes itself.
pub(super) fn collect(text: &str, folder: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut found = BTreeMap::new();
    follow(MAIN, text, folder, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn follow(
    name: &str,
    text: &str,
    folder: &Path,
    within: &mut Vec<String>,
    found: &mut BTreeMap<String, String>,
) -> Result<(), Error> {
    let parsed = Parsed::compile(text).map_err(|error| syntax_error(name, &error))?;
    let mut names = Vec::new();
    collect_names(&parsed, &mut names)?;
    within.push(name.to_owned());
    for name in names {
        if within.contains(&name) {
            return Err(Error::Partial(format!("`{name}.hbs` includes itself")));
        }
        if found.contains_key(&name) {
            continue;
        }
        let text = read(&folder.join(format!("{name}.hbs")))?;
        follow(&name, &text, folder, within, found)?;
        found.insert(name, text);
    }
    within.pop();
    Ok(())
}

fn collect_names(template: &Parsed, names: &mut Vec<String>) -> Result<(), Error> {
    for element in &template.elements {
        match element {
            TemplateElement::HelperBlock(block) => {
                for inner in [&block.template, &block.inverse].into_iter().flatten() {
                    collect_names(inner, names)?;
                }
            }
            TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                let name = partial_name(&partial.name)?;
                if name != "@partial-block" {
                    names.push(name);
                }
                partial.template.iter().try_for_each(|inner| collect_names(inner, names))?;
            }
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
                return Err(Error::Partial("`{{*…}}` is not known: give a partial a file of its own".to_owned()));
            }
            // Text, values, comments.
            _ => {}
        }
    }
    Ok(())
}

/// The name of a partial. It must be one word, so that it cannot name a file in another folder.
fn partial_name(name: &Parameter) -> Result<String, Error> {
    let name = match name {
        Parameter::Name(name) | Parameter::Path(HandlebarsPath::Relative((_, name))) => name.clone(),
        Parameter::Literal(literal) => literal.as_str().unwrap_or_default().to_owned(),
        _ => return Err(Error::Partial("the name of a partial cannot be computed".to_owned())),
    };
    let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_word || name == "@partial-block" {
        Ok(name)
    } else {
        Err(Error::Partial(format!(
            "`{}` cannot be the name of a partial: use letters, digits, _ and -",
            name.escape_debug()
        )))
    }
}
