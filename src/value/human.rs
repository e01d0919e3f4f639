/// A length of time for people: `350 ms`, `2.5 s`, `3 min 20 s`, `2 h 5 min`.
pub fn human_duration(seconds: f64) -> String {
    // Rounded before it is split, so that "60 s" never appears.
    let whole = seconds.round();
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s * 1_000.0),
        s if s < 9.95 => format!("{s:.1} s"),
        _ if whole < 60.0 => format!("{whole:.0} s"),
        _ if whole < 3_600.0 => format!("{:.0} min {:.0} s", (whole / 60.0).floor(), whole % 60.0),
        _ => format!("{:.0} h {:.0} min", (whole / 3_600.0).floor(), (whole % 3_600.0 / 60.0).floor()),
    }
}

/// A size for people: `12 B`, `3.4 KiB`, `1.2 GiB`.
pub fn human_bytes(bytes: f64) -> String {
    if bytes < 1_024.0 {
        return format!("{bytes:.0} B");
    }
    let mut size = bytes;
    let mut unit = "";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        // 1023.96 KiB would be shown as 1024.0 KiB.
        if size < 1_023.95 && !unit.is_empty() {
            break;
        }
        size /= 1_024.0;
        unit = next;
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (seconds, text) in [(0.0, "0 ms"), (0.9996, "1.0 s"), (59.7, "1 min 0 s"), (7_260.0, "2 h 1 min")] {
            assert_eq!(human_duration(seconds), text);
        }
        for (bytes, text) in
            [(0.0, "0 B"), (1_023.0, "1023 B"), (1_024.0, "1.0 KiB"), (1_048_575.0, "1.0 MiB"), (5e9, "4.7 GiB")]
        {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
