use std::collections::BTreeMap;

use super::rows::Rows;
use crate::event::What;

/// The starts of stages that an earlier session did. Such a start is written only when the stage is done again: until then it is
/// asked whether it still holds, and its row must keep the times of the work, whenever this session ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(BTreeMap<(String, String), (String, What)>);

impl Held {
    /// Writes an event, or holds it.
    pub(super) fn event(&mut self, rows: &Rows<'_>, at: &str, what: &What) -> rusqlite::Result<()> {
        let Some((stage, instance)) = what.subject() else { return rows.event(at, what) };
        let key = (stage.to_owned(), instance.unwrap_or_default().to_owned());
        match what {
            What::StageStarted { attempt: 1, .. } if rows.session > 1 && rows.is_done(&key.0, &key.1)? => {
                self.0.insert(key, (at.to_owned(), what.clone()));
                return Ok(());
            }
            What::StageEnded { recalled: true, outcome, .. }
                if self.0.remove(&key).is_some() || rows.is_done(&key.0, &key.1)? =>
            {
                return rows.recalled(at, (&key.0, &key.1), *outcome);
            }
            _ => {}
        }
        if let Some((then, start)) = self.0.remove(&key) {
            rows.event(&then, &start)?;
        }
        rows.event(at, what)
    }

    /// Writes the starts of a stage and its instances: it is done again.
    pub(super) fn release(&mut self, rows: &Rows<'_>, stage: &str) -> rusqlite::Result<()> {
        let keys: Vec<_> = self.0.keys().filter(|(held, _)| held == stage).cloned().collect();
        keys.iter().filter_map(|key| self.0.remove(key)).try_for_each(|(at, start)| rows.event(&at, &start))
    }
}
