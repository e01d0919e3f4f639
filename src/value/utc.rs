use jiff::Timestamp;

/// A time as state, events and reports spell it: RFC 3339, UTC, milliseconds. Texts of this form are ordered as times are.
pub fn utc(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
