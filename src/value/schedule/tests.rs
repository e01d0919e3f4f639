//! What each form means, judged by tables and by how clocks are changed.

use jiff::{ToSpan, Zoned};

use super::ScheduleErrorKind::{self, Malformed, Never, UnknownZone, Unsupported};
use super::{Schedule, ScheduleError};

/// A text, its normal spelling, its words, and its first time after Tuesday, 2026-11-24 13:45 UTC.
///
/// The times of all systemd forms are those that `systemd-analyze calendar` (252) gives for that base time.
const FORMS: &[(&str, &str, &str, &str)] = &[
    ("* * * * *", "* * * * *", "every minute", "2026-11-24 13:46"),
    ("*/15 * * * *", "*/15 * * * *", "every 15 minutes", "2026-11-24 14:00"),
    ("0 6,18 * * *", "0 6,18 * * *", "every day at 06:00 and 18:00", "2026-11-24 18:00"),
    ("0 0 1-5 * *", "0 0 1-5 * *", "on the 1st to 5th of every month at 00:00", "2026-12-01 00:00"),
    ("30 2 * * 7", "30 2 * * 0", "every Sunday at 02:30", "2026-11-29 02:30"),
    ("30 2 * * 0", "30 2 * * 0", "every Sunday at 02:30", "2026-11-29 02:30"),
    ("30 2 * * SUN", "30 2 * * 0", "every Sunday at 02:30", "2026-11-29 02:30"),
    ("0 2 * * mon-fri", "0 2 * * 1-5", "Monday to Friday at 02:00", "2026-11-25 02:00"),
    ("0 22 * * FRI-SUN", "0 22 * * 0,5,6", "Friday to Sunday at 22:00", "2026-11-27 22:00"),
    (
        "0 0 1,15 * 5",
        "0 0 1,15 * 5",
        "on the 1st and 15th of every month and every Friday at 00:00",
        "2026-11-27 00:00",
    ),
    (
        "0 0 */2 * 1",
        "Mon *-*-01/2 00:00:00",
        "every Monday that is the 1st, 3rd, 5th, 7th, 9th, 11th, 13th, 15th, 17th, 19th, 21st, 23rd, 25th, 27th, 29th or 31st of the month at 00:00",
        "2026-12-07 00:00",
    ),
    ("0 0 29 2 *", "0 0 29 2 *", "on the 29th of February at 00:00", "2028-02-29 00:00"),
    ("0 0 30,31 1,2,4 *", "0 0 30,31 1,4 *", "on the 30th and 31st of January and April at 00:00", "2027-01-30 00:00"),
    ("17 * * * *", "17 * * * *", "every hour at minute 17", "2026-11-24 14:17"),
    ("5-59/15 * * * *", "5-59/15 * * * *", "at minutes 5, 20, 35 and 50 of every hour", "2026-11-24 13:50"),
    ("*/7 * * * *", "*/7 * * * *", "every 7 minutes from minute 0 to 56 of every hour", "2026-11-24 13:49"),
    ("0 */2 * * *", "0 */2 * * *", "every 2 hours", "2026-11-24 14:00"),
    ("30 */6 * * *", "30 */6 * * *", "every day at 00:30, 06:30, 12:30 and 18:30", "2026-11-24 18:30"),
    ("0 9-17 * * 1-5", "0 9-17 * * 1-5", "every hour from 09:00 to 17:00, Monday to Friday", "2026-11-24 14:00"),
    (
        "*/15 9-17 * * 1-5",
        "*/15 9-17 * * 1-5",
        "every 15 minutes from 09:00 to 17:45, Monday to Friday",
        "2026-11-24 14:00",
    ),
    ("*/10 2 * * *", "*/10 2 * * *", "every day at 02:00, 02:10, 02:20, 02:30, 02:40 and 02:50", "2026-11-25 02:00"),
    ("* 2-3 * * *", "* 2,3 * * *", "every minute from 02:00 to 03:59", "2026-11-25 02:00"),
    ("5,7,9 1,3,9 * * *", "5-9/2 1,3,9 * * *", "at minutes 5, 7 and 9 of the hours 1, 3 and 9", "2026-11-25 01:05"),
    ("0 0 1 */3 *", "0 0 1 */3 *", "on the 1st of January, April, July and October at 00:00", "2027-01-01 00:00"),
    ("0 0 1 JAN,jul *", "0 0 1 1,7 *", "on the 1st of January and July at 00:00", "2027-01-01 00:00"),
    ("0 0 1-31 * 1", "0 0 * * *", "every day at 00:00", "2026-11-25 00:00"),
    ("1-59/2 * * * *", "1-59/2 * * * *", "every 2 minutes from minute 1 to 59 of every hour", "2026-11-24 13:47"),
    ("0 3 * 6-8 *", "0 3 * 6-8 *", "every day from June to August at 03:00", "2027-06-01 03:00"),
    ("@hourly", "0 * * * *", "every hour", "2026-11-24 14:00"),
    ("@daily", "0 0 * * *", "every day at 00:00", "2026-11-25 00:00"),
    ("@midnight", "0 0 * * *", "every day at 00:00", "2026-11-25 00:00"),
    ("@weekly", "0 0 * * 0", "every Sunday at 00:00", "2026-11-29 00:00"),
    ("@monthly", "0 0 1 * *", "on the 1st of every month at 00:00", "2026-12-01 00:00"),
    ("@yearly", "0 0 1 1 *", "on the 1st of January at 00:00", "2027-01-01 00:00"),
    ("@annually", "0 0 1 1 *", "on the 1st of January at 00:00", "2027-01-01 00:00"),
    ("minutely", "* * * * *", "every minute", "2026-11-24 13:46"),
    ("hourly", "0 * * * *", "every hour", "2026-11-24 14:00"),
    ("daily", "0 0 * * *", "every day at 00:00", "2026-11-25 00:00"),
    ("weekly", "0 0 * * 1", "every Monday at 00:00", "2026-11-30 00:00"),
    ("monthly", "0 0 1 * *", "on the 1st of every month at 00:00", "2026-12-01 00:00"),
    ("quarterly", "0 0 1 */3 *", "on the 1st of January, April, July and October at 00:00", "2027-01-01 00:00"),
    ("semiannually", "0 0 1 1,7 *", "on the 1st of January and July at 00:00", "2027-01-01 00:00"),
    ("yearly", "0 0 1 1 *", "on the 1st of January at 00:00", "2027-01-01 00:00"),
    ("annually", "0 0 1 1 *", "on the 1st of January at 00:00", "2027-01-01 00:00"),
    ("Mon..Fri 02:00", "0 2 * * 1-5", "Monday to Friday at 02:00", "2026-11-25 02:00"),
    ("Mon,Wed *-*-* 02:00:00", "0 2 * * 1,3", "every Monday and Wednesday at 02:00", "2026-11-25 02:00"),
    ("*-*-01 04:00", "0 4 1 * *", "on the 1st of every month at 04:00", "2026-12-01 04:00"),
    ("*:0/15", "*/15 * * * *", "every 15 minutes", "2026-11-24 14:00"),
    ("*-*~01", "*-*~01 00:00:00", "on the last day of every month at 00:00", "2026-11-30 00:00"),
    ("Mon *-*~07/1 03:00", "Mon *-*~07/1 03:00:00", "on the last Monday of every month at 03:00", "2026-11-30 03:00"),
    ("Fri *-*~1..7 03:00", "Fri *-*~07/1 03:00:00", "on the last Friday of every month at 03:00", "2026-11-27 03:00"),
    (
        "Mon *-*-1..7 03:00",
        "Mon *-*-01..07 03:00:00",
        "on the first Monday of every month at 03:00",
        "2026-12-07 03:00",
    ),
    ("Mon *-*-8..14", "Mon *-*-08..14 00:00:00", "on the second Monday of every month at 00:00", "2026-12-14 00:00"),
    ("Sat,Sun 20:00", "0 20 * * 0,6", "every Saturday and Sunday at 20:00", "2026-11-28 20:00"),
    ("Mon-Fri 02:00", "0 2 * * 1-5", "Monday to Friday at 02:00", "2026-11-25 02:00"),
    (
        "Mon..Wed,Sat 10..12/2:00",
        "0 10,12 * * 1-3,6",
        "Monday to Wednesday and Saturday at 10:00 and 12:00",
        "2026-11-25 10:00",
    ),
    (
        "02:00 Europe/Berlin",
        "*-*-* 02:00:00 Europe/Berlin",
        "every day at 02:00, Europe/Berlin time",
        "2026-11-25 01:00",
    ),
    ("02:00 UTC", "*-*-* 02:00:00 UTC", "every day at 02:00 UTC", "2026-11-25 02:00"),
    (
        "daily Europe/Berlin",
        "*-*-* 00:00:00 Europe/Berlin",
        "every day at 00:00, Europe/Berlin time",
        "2026-11-24 23:00",
    ),
    ("*:*:0/10", "*-*-* *:*:00/10", "every 10 seconds", "2026-11-24 13:45:10"),
    ("*:*:30", "*-*-* *:*:30", "at second 30 of every minute", "2026-11-24 13:45:30"),
    ("02:00:30", "*-*-* 02:00:30", "every day at 02:00:30", "2026-11-25 02:00:30"),
    ("*-1/3-1", "0 0 1 */3 *", "on the 1st of January, April, July and October at 00:00", "2027-01-01 00:00"),
    ("12-24 18:00", "0 18 24 12 *", "on the 24th of December at 18:00", "2026-12-24 18:00"),
    ("Fri *-*-13", "Fri *-*-13 00:00:00", "every Friday that is the 13th of the month at 00:00", "2027-08-13 00:00"),
    ("Sunday", "0 0 * * 0", "every Sunday at 00:00", "2026-11-29 00:00"),
    (
        "*-*-1/2 1:0",
        "0 1 1-31/2 * *",
        "on every 2nd day from the 1st to the 31st of every month at 01:00",
        "2026-11-25 01:00",
    ),
    ("9..17/2:30", "30 9-17/2 * * *", "every day at 09:30, 11:30, 13:30, 15:30 and 17:30", "2026-11-24 15:30"),
    ("0/6:00", "0 */6 * * *", "every day at 00:00, 06:00, 12:00 and 18:00", "2026-11-24 18:00"),
    ("*:00/7", "*/7 * * * *", "every 7 minutes from minute 0 to 56 of every hour", "2026-11-24 13:49"),
    (
        "Mon *-*~01",
        "Mon *-*~01 00:00:00",
        "every Monday that is the last day of the month at 00:00",
        "2026-11-30 00:00",
    ),
    (
        "Mon,Tue *-*-13,14 02:00",
        "Mon,Tue *-*-13,14 02:00:00",
        "every Monday and Tuesday that is the 13th or 14th of the month at 02:00",
        "2026-12-14 02:00",
    ),
    ("0 1,2,3,4,5,6,7 * * *", "0 1-7 * * *", "every hour from 01:00 to 07:00", "2026-11-25 01:00"),
    ("0 0 2-4,30 2 *", "0 0 2-4 2 *", "on the 2nd to 4th of February at 00:00", "2027-02-02 00:00"),
    ("0 0 31 2 1", "0 0 * 2 1", "every Monday in February at 00:00", "2027-02-01 00:00"),
    ("*:*:10,40", "*-*-* *:*:10,40", "at seconds 10 and 40 of every minute", "2026-11-24 13:45:10"),
    ("02:*:30", "*-*-* 02:*:30", "at second 30, every minute from 02:00 to 02:59", "2026-11-25 02:00:30"),
    (
        "Mon *:0/15 Europe/Berlin",
        "Mon *-*-* *:00/15:00 Europe/Berlin",
        "every 15 minutes, every Monday, Europe/Berlin time",
        "2026-11-29 23:00",
    ),
    ("*-02-* 5:00", "0 5 * 2 *", "every day in February at 05:00", "2027-02-01 05:00"),
    ("0 0 * 2 *", "0 0 * 2 *", "every day in February at 00:00", "2027-02-01 00:00"),
    ("0 0 1-29 2 *", "0 0 * 2 *", "every day in February at 00:00", "2027-02-01 00:00"),
    ("0,30 8,20 * * 6", "0,30 8,20 * * 6", "every Saturday at 08:00, 08:30, 20:00 and 20:30", "2026-11-28 08:00"),
    ("Mon..Fri", "0 0 * * 1-5", "Monday to Friday at 00:00", "2026-11-25 00:00"),
    (
        "0 0 1-7,9 1-3 *",
        "0 0 1-7,9 1-3 *",
        "on the 1st to 7th and 9th of January to March at 00:00",
        "2027-01-01 00:00",
    ),
    ("0 5 * 6-8 1", "0 5 * 6-8 1", "every Monday from June to August at 05:00", "2027-06-07 05:00"),
    ("1-3,10-13 2 * * *", "1-3,10-13 2 * * *", "at minutes 1 to 3 and 10 to 13 of the hour 2", "2026-11-25 02:01"),
    ("3 1-22 * * *", "3 1-22 * * *", "every hour from 01:03 to 22:03", "2026-11-24 14:03"),
    (
        "0 0 13 1 */2",
        "Tue,Thu,Sat,Sun *-01-13 00:00:00",
        "every Tuesday, Thursday, Saturday and Sunday that is the 13th of January at 00:00",
        "2028-01-13 00:00",
    ),
    (
        "0 0 */2 1 1",
        "Mon *-01-01/2 00:00:00",
        "every Monday that is the 1st, 3rd, 5th, 7th, 9th, 11th, 13th, 15th, 17th, 19th, 21st, 23rd, 25th, 27th, 29th or 31st of January at 00:00",
        "2027-01-11 00:00",
    ),
    ("*:0/20:30 UTC", "*-*-* *:00/20:30 UTC", "at second 30, every 20 minutes UTC", "2026-11-24 14:00:30"),
    (
        "0 0 1-3 * MON-WED",
        "0 0 1-3 * 1-3",
        "on the 1st to 3rd of every month and Monday to Wednesday at 00:00",
        "2026-11-25 00:00",
    ),
    ("0 0-22/2 * * *", "0 */2 * * *", "every 2 hours", "2026-11-24 14:00"),
];

/// A text that is refused: the kind of mistake, and which part of it is marked.
const REFUSED: &[(&str, ScheduleErrorKind, &str, usize, usize)] = &[
    ("", Malformed, "schedule", 0, 0),
    ("*-*-13 Fri", Malformed, "weekday", 7, 3),
    ("61 * * * *", Malformed, "minute", 0, 2),
    ("@reboot", Unsupported, "nickname", 0, 7),
    ("0 24 * * *", Malformed, "hour", 2, 2),
    ("0 0 0 * *", Malformed, "day of the month", 4, 1),
    ("0 0 * 13 *", Malformed, "month", 6, 2),
    ("0 0 * * 8", Malformed, "weekday", 8, 1),
    ("0 0 30 2 *", Never, "date", 4, 4),
    ("*-02-30", Never, "date", 0, 7),
    ("0 0 31 4,6 *", Never, "date", 4, 6),
    ("0 2 * *", Malformed, "fields", 0, 7),
    ("5", Malformed, "fields", 0, 1),
    ("*/15", Malformed, "fields", 0, 4),
    ("0 0 2 * * *", Malformed, "fields", 0, 11),
    ("0 0 * * MON#1", Unsupported, "weekday", 8, 5),
    ("0 0 L * *", Unsupported, "day of the month", 4, 1),
    ("0 0 15W * *", Unsupported, "day of the month", 4, 3),
    ("0 0 ? * 1", Unsupported, "day of the month", 4, 1),
    ("H 2 * * *", Unsupported, "minute", 0, 1),
    ("5/15 * * * *", Malformed, "minute", 0, 4),
    ("*/0 * * * *", Malformed, "minute", 2, 1),
    ("*/90 * * * *", Malformed, "minute", 2, 2),
    ("30-10 * * * *", Malformed, "minute", 0, 5),
    ("0 0 * * FRI-MON", Malformed, "weekday", 8, 7),
    ("1,,2 * * * *", Malformed, "minute", 2, 0),
    ("a * * * *", Malformed, "minute", 0, 1),
    ("@every 5m", Malformed, "nickname", 0, 6),
    ("@1395716396", Unsupported, "nickname", 0, 11),
    ("@daily 02:00", Malformed, "nickname", 7, 5),
    ("fortnightly", Malformed, "schedule", 0, 11),
    ("2027-01-01", Unsupported, "year", 0, 4),
    ("*-*~02", Unsupported, "day of the month", 4, 2),
    ("*-*~07/1", Unsupported, "day of the month", 4, 4),
    ("*/2:00", Malformed, "hour", 0, 3),
    ("02:00:00.5", Unsupported, "second", 6, 4),
    ("24:00", Malformed, "hour", 0, 2),
    ("02:00 Europe/Atlantis", UnknownZone, "time zone", 6, 15),
    ("02:00 UTC x", Malformed, "time zone", 10, 1),
    ("02:00 04:00", Malformed, "time zone", 6, 5),
    ("Mon 02:00 03:00", Malformed, "time zone", 10, 5),
    ("Fri..Mon 02:00", Malformed, "weekday", 0, 8),
    ("Mon,3 02:00", Malformed, "weekday", 4, 1),
    ("Funday 02:00", Malformed, "weekday", 0, 6),
    ("1:2:3:4", Malformed, "time", 0, 7),
    ("*-*-*-*", Malformed, "date", 0, 7),
    ("*-13-01", Malformed, "month", 2, 2),
    ("*-*-32", Malformed, "day of the month", 4, 2),
    ("morgens früh", Malformed, "schedule", 0, 7),
    ("0 2 * * ü", Malformed, "weekday", 8, 2),
    ("*-*-01 04", Malformed, "fields", 0, 9),
    ("0 0 * * 1-", Malformed, "weekday", 10, 0),
    ("Mon *-*~1..3", Unsupported, "day of the month", 8, 4),
    ("*-01-1.5", Malformed, "day of the month", 5, 3),
];

fn at(text: &str) -> Zoned {
    text.parse().unwrap()
}

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

#[test]
fn each_form_has_its_meaning() {
    let now = at("2026-11-24T13:45[UTC]");
    for (text, normal, words, next) in FORMS {
        let schedule = schedule(text);
        assert_eq!((schedule.normal().as_str(), schedule.words().as_str()), (*normal, *words), "{text}");
        let told = schedule.next(&now).unwrap().strftime("%F %T").to_string();
        assert_eq!(told.strip_suffix(":00").unwrap_or(&told), *next, "{text}");
        assert_eq!(normal.parse::<Schedule>().unwrap(), schedule, "{text}");
        assert_eq!(serde_json::to_value(&schedule).unwrap(), *normal);
    }
    assert!(FORMS.len() > 70);
}

#[test]
fn what_is_wrong_is_marked() {
    for (text, kind, field, offset, length) in REFUSED {
        let error: ScheduleError = text.parse::<Schedule>().unwrap_err();
        assert_eq!((error.kind, error.field, error.offset, error.length), (*kind, *field, *offset, *length), "{text}");
        assert!(text.is_char_boundary(error.offset) && text.is_char_boundary(error.offset + error.length), "{text}");
        assert!(!error.help.is_empty() && error.message.len() < 120, "{error:?}");
    }
    let long = format!("0{} 2 * * *", ",0".repeat(200));
    assert_eq!(long.parse::<Schedule>().unwrap_err().kind, Malformed);
}

#[test]
fn the_reasons_are_said() {
    let says = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
    insta::assert_snapshot!(
        [
            "61 * * * *",
            "@reboot",
            "0 0 30 2 *",
            "0 2 * *",
            "2027-01-01",
            "0 0 * * MON#1",
            "*-*~02",
            "02:00 Europe/Atlantis"
        ]
        .map(says)
        .join("\n")
    );
}

/// The next times from a moment on, as its clock shows them.
fn times(text: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = schedule(text);
    let mut now = at(from);
    let mut next = || {
        now = schedule.next(&now).unwrap();
        now.strftime("%m-%d %H:%M %Z").to_string()
    };
    (0..count).map(|_| next()).collect()
}

/// Clocks of Berlin go from 02:00 to 03:00 on 2026-03-29. systemd leaves such a day out; a backup must not be.
#[test]
fn a_clock_put_forward_leaves_no_day_out() {
    let night = "2026-03-29T00:00[Europe/Berlin]";
    assert_eq!(times("30 2 * * *", night, 2), ["03-29 03:00 CEST", "03-30 02:30 CEST"]);
    assert_eq!(times("0 2,14 * * *", night, 3), ["03-29 03:00 CEST", "03-29 14:00 CEST", "03-30 02:00 CEST"]);
    assert_eq!(times("*/15 2 * * *", night, 2), ["03-29 03:00 CEST", "03-30 02:00 CEST"]);
    assert_eq!(times("0 2-3 * * *", night, 2), ["03-29 03:00 CEST", "03-30 02:00 CEST"]);
    assert_eq!(
        times("30 * * * *", night, 4),
        ["03-29 00:30 CET", "03-29 01:30 CET", "03-29 03:30 CEST", "03-29 04:30 CEST"]
    );
}

/// They go from 03:00 back to 02:00 on 2026-10-25.
#[test]
fn a_clock_put_back_repeats_no_time_of_day_and_leaves_no_hour_out() {
    let night = "2026-10-25T01:50[Europe/Berlin]";
    assert_eq!(times("30 2 * * *", night, 2), ["10-25 02:30 CEST", "10-26 02:30 CET"]);
    assert_eq!(times("0 2,3 * * *", night, 3), ["10-25 02:00 CEST", "10-25 03:00 CET", "10-26 02:00 CET"]);
    assert_eq!(times("30 * * * *", night, 3), ["10-25 02:30 CEST", "10-25 02:30 CET", "10-25 03:30 CET"]);
    // From within the second time that the clock shows that hour.
    let second = "2026-10-25T02:10:00+01:00[Europe/Berlin]";
    assert_eq!(times("30 2 * * *", second, 1), ["10-26 02:30 CET"]);
    assert_eq!(times("*/20 * * * *", second, 2), ["10-25 02:20 CET", "10-25 02:40 CET"]);
}

#[test]
fn a_time_zone_of_its_own_wins_and_the_answer_is_in_that_of_the_question() {
    let now = at("2026-07-01T00:00[America/New_York]");
    assert_eq!(
        schedule("02:00 Europe/Berlin").next(&now).unwrap().to_string(),
        "2026-07-01T20:00:00-04:00[America/New_York]"
    );
    assert_eq!(schedule("02:00").next(&now).unwrap().to_string(), "2026-07-01T02:00:00-04:00[America/New_York]");
    // The answer is after the question, be it by a part of a second.
    let just_before = now.checked_sub(1.millisecond()).unwrap();
    assert_eq!(schedule("daily").next(&just_before).unwrap(), now);
    assert_eq!(schedule("daily").next(&now).unwrap(), now.checked_add(1.day()).unwrap());
}

#[test]
fn nothing_comes_after_the_last_year() {
    assert_eq!(schedule("daily").next(&at("9999-12-30T00:00[UTC]")), None);
}
