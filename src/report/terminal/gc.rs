use crate::state::Removed;
use crate::value::human_bytes;

/// What `tl gc` removed or would remove, one kind a line.
pub fn render_removed(removed: &Removed, uploads: usize, dry_run: bool) -> String {
    let verb = if dry_run { "would remove" } else { "removed" };
    let kinds = [
        (removed.runs, "run", "runs"),
        (removed.logs, "folder of logs", "folders of logs"),
        (removed.work, "work folder", "work folders"),
        (removed.messages, "delivered message", "delivered messages"),
        (removed.texts, "text that no version has", "texts that no version has"),
    ];
    let line = |(count, one, many): (usize, &str, &str)| match count {
        0 => None,
        1 => Some(format!("{verb} 1 {one}\n")),
        count => Some(format!("{verb} {count} {many}\n")),
    };
    let mut text: String = kinds.into_iter().filter_map(line).collect();
    if uploads > 0 {
        let (verb, plural) = (if dry_run { "would abort" } else { "aborted" }, if uploads == 1 { "" } else { "s" });
        text.push_str(&format!("{verb} {uploads} open upload{plural}\n"));
    }
    if removed.bytes > 0 {
        let room = human_bytes(removed.bytes as f64);
        text.push_str(&format!("{room} of files\n"));
    }
    text
}
