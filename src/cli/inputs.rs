use std::collections::BTreeMap;

use clap::Args;

use crate::diagnostic::{Diagnostic, codes};

/// The values of inputs, for commands that read a pipeline.
#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// The value of an input; can be repeated.
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(super) inputs: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

impl Inputs {
    /// The value of each input. Fails if one is given twice.
    pub(super) fn values(&self) -> Result<BTreeMap<String, String>, Vec<Diagnostic>> {
        let mut values = BTreeMap::new();
        for (name, value) in &self.inputs {
            if values.insert(name.clone(), value.clone()).is_some() {
                return Err(vec![Diagnostic::usage(codes::TL0504, format!("the input `{name}` is given twice"))]);
            }
        }
        Ok(values)
    }
}
