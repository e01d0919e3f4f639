use jiff::Timestamp;

/// The form of times in state, events and reports: RFC 3339, UTC, milliseconds. Texts of this form sort by time.
pub fn utc(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
