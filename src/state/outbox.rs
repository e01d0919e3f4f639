use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, TransactionBehavior, named_params, params};

use super::db::{Db, DbError, path_of, path_value};
use super::owner::Owner;
use crate::value::utc;

/// Messages, each until its channel has taken it.
#[derive(Debug)]
pub struct Outbox {
    db: Db,
    owner: Owner,
}

/// A message for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The same for each attempt.
    pub id: String,
    /// The channel's name in the pipeline file.
    pub channel: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline file, absolute.
    pub file: PathBuf,
    /// The inputs of its run, JSON.
    pub inputs: String,
    /// The message, JSON.
    pub message: String,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterState {
    /// It is to be sent.
    Pending,
    /// It was taken.
    Delivered,
    /// It is not tried again by itself.
    Dead,
}

impl LetterState {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "delivered" => Self::Delivered,
            "dead" => Self::Dead,
            _ => Self::Pending,
        }
    }
}

/// A message and what became of it. Times are RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is sent.
    pub letter: Letter,
    /// How far it is.
    pub state: LetterState,
    /// When it was put in.
    pub created: String,
    /// How often it was tried, an attempt that is under way included.
    pub attempts: u32,
    /// When it may be tried again.
    pub next_at: String,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was taken.
    pub delivered_at: Option<String>,
    /// How that is known.
    pub answer: Option<String>,
    claimed_by: Option<String>,
}

/// What an attempt came to.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// The channel took it.
    Delivered {
        /// How that is known.
        answer: String,
    },
    /// It did not; another attempt may be made after a while.
    Failed {
        /// Why.
        error: String,
        /// How long to wait; never again by itself where there is none.
        after: Option<Duration>,
    },
}

/// What was delivered is kept so long, to be looked at.
pub(super) const KEPT: Duration = Duration::from_hours(30 * 24);
/// A message whose channel cannot be found is kept so long.
const ASIDE: Duration = Duration::from_hours(7 * 24);
/// No wait is as long as this: the clock was wrong when it was noted.
const ABSURD: Duration = Duration::from_hours(36);

const COLUMNS: &str = "id, channel, pipeline, file, inputs, message, state, created, attempts, next_at, last_error, \
                       delivered_at, answer, claimed_by";

impl Outbox {
    /// Opens the outbox in `state.db` of a state folder.
    pub(super) fn open(db: &Path, owners: &Path) -> Result<Self, DbError> {
        let owner = Owner::new(owners).map_err(|source| DbError::Io { path: owners.to_owned(), source })?;
        Ok(Self { db: Db::open(db)?, owner })
    }

    /// Puts a message in, durably, where it is not in yet; returns what is in now.
    pub fn put(&self, letter: &Letter) -> Result<Entry, DbError> {
        insert(&self.db.connection, letter)
            .and_then(|()| self.get(&letter.id, &letter.channel))
            .map_err(|error| self.db.failed(error))
    }

    /// Whether messages were put in that this due time of a pipeline file has passed.
    pub fn has_told_late(&self, file: &Path, due: &str) -> Result<bool, DbError> {
        let query = "SELECT EXISTS (SELECT 1 FROM stale_told WHERE file = ?1 AND due = ?2)";
        let read = self.db.connection.query_row(query, params![path_value(file), due], |row| row.get(0));
        read.map_err(|error| self.db.failed(error))
    }

    /// Puts messages in that this due time of a pipeline file has passed, and notes that it did: durably, all or nothing,
    /// and only once for each due time, whoever comes first.
    pub fn put_late(&mut self, file: &Path, due: &str, letters: &[Letter]) -> Result<(), DbError> {
        let put = |db: &mut Db| {
            let transaction = db.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let noted = transaction.execute(
                "INSERT INTO stale_told (file, due) VALUES (?1, ?2)
                 ON CONFLICT (file) DO UPDATE SET due = excluded.due WHERE due <> excluded.due",
                params![path_value(file), due],
            )?;
            if noted > 0 {
                letters.iter().try_for_each(|letter| insert(&transaction, letter))?;
            }
            transaction.commit()
        };
        put(&mut self.db).map_err(|error| self.db.failed(error))
    }

    fn get(&self, id: &str, channel: &str) -> rusqlite::Result<Entry> {
        let query = format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1 AND channel = ?2");
        self.db.connection.query_row(&query, [id, channel], entry)
    }

    /// Takes a message to send it: nobody else does, as long as this process lives. `None` where somebody was faster, or it
    /// has been delivered. An attempt counts from here on: one that kills the process is one.
    pub fn claim(&self, entry: &Entry) -> Result<Option<Entry>, DbError> {
        if entry.claimed_by.as_deref().is_some_and(|name| self.owner.is_alive(name)) {
            return Ok(None);
        }
        let query = format!(
            "UPDATE outbox SET claimed_by = :me, attempts = attempts + 1
             WHERE id = :id AND channel = :channel AND state <> 'delivered' AND attempts = :seen AND claimed_by IS :by
             RETURNING {COLUMNS}"
        );
        let values = named_params! {
            ":me": self.owner.name(), ":id": entry.letter.id, ":channel": entry.letter.channel,
            ":seen": entry.attempts, ":by": entry.claimed_by,
        };
        self.db.connection.query_row(&query, values, self::entry).optional().map_err(|error| self.db.failed(error))
    }

    /// Notes what an attempt came to, durably, and lets go of the message.
    pub fn settle(&self, entry: &Entry, attempt: &Attempt) -> Result<(), DbError> {
        let Letter { id, channel, .. } = &entry.letter;
        let connection = &self.db.connection;
        match attempt {
            Attempt::Delivered { answer } => connection.execute(
                "UPDATE outbox SET state = 'delivered', delivered_at = ?3, answer = ?4, claimed_by = NULL
                 WHERE id = ?1 AND channel = ?2",
                params![id, channel, stamp(Duration::ZERO, false), answer],
            ),
            Attempt::Failed { error, after } => connection.execute(
                "UPDATE outbox SET state = ?3, next_at = ?4, last_error = ?5, claimed_by = NULL
                 WHERE id = ?1 AND channel = ?2",
                params![
                    id,
                    channel,
                    if after.is_some() { "pending" } else { "dead" },
                    stamp(after.unwrap_or_default(), false),
                    error
                ],
            ),
        }
        .map(drop)
        .map_err(|error| self.db.failed(error))
    }

    /// Notes why a message could not even be tried. It stays as it is; after a week it is given up.
    pub fn set_aside(&self, entry: &Entry, error: &str) -> Result<(), DbError> {
        let Letter { id, channel, .. } = &entry.letter;
        self.db
            .connection
            .execute(
                "UPDATE outbox SET last_error = ?3, state = CASE WHEN created < ?4 THEN 'dead' ELSE state END
                 WHERE id = ?1 AND channel = ?2 AND state <> 'delivered'",
                params![id, channel, error, stamp(ASIDE, true)],
            )
            .map(drop)
            .map_err(|error| self.db.failed(error))
    }

    /// What may be sent now, in the order it was put in. With `all`, also what is to wait longer and what is dead.
    pub fn due(&self, all: bool) -> Result<Vec<Entry>, DbError> {
        self.owner.sweep();
        let now = stamp(Duration::ZERO, false);
        let absurd = stamp(ABSURD, false);
        let mut entries = if all {
            self.select("state <> 'delivered'", &[])
        } else {
            self.select("state = 'pending' AND (next_at <= ?1 OR next_at > ?2)", &[&now, &absurd])
        }?;
        entries.retain(|entry| !entry.claimed_by.as_deref().is_some_and(|name| self.owner.is_alive(name)));
        Ok(entries)
    }

    /// All that is in it, in the order it was put in.
    pub fn list(&self) -> Result<Vec<Entry>, DbError> {
        self.select("TRUE", &[])
    }

    /// Forgets what was delivered long ago.
    pub fn prune(&self) -> Result<(), DbError> {
        self.db
            .connection
            .execute("DELETE FROM outbox WHERE state = 'delivered' AND delivered_at < ?1", [stamp(KEPT, true)])
            .map(drop)
            .map_err(|error| self.db.failed(error))
    }

    fn select(&self, chosen: &str, values: &[&dyn ToSql]) -> Result<Vec<Entry>, DbError> {
        let query = format!("SELECT {COLUMNS} FROM outbox WHERE {chosen} ORDER BY created, id, channel");
        let read = || {
            let mut statement = self.db.connection.prepare(&query)?;
            statement.query_map(values, entry)?.collect::<rusqlite::Result<Vec<Entry>>>()
        };
        read().map_err(|error| self.db.failed(error))
    }
}

fn insert(connection: &Connection, letter: &Letter) -> rusqlite::Result<()> {
    let Letter { id, channel, pipeline, file, inputs, message } = letter;
    let (file, now) = (path_value(file), stamp(Duration::ZERO, false));
    let query = "INSERT INTO outbox (id, channel, pipeline, file, inputs, message, created, next_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT DO NOTHING";
    connection.execute(query, params![id, channel, pipeline, file, inputs, message, now]).map(drop)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let file = path_of(row.get_ref(3)?);
    Ok(Entry {
        letter: Letter {
            id: row.get(0)?,
            channel: row.get(1)?,
            pipeline: row.get(2)?,
            file,
            inputs: row.get(4)?,
            message: row.get(5)?,
        },
        state: LetterState::of(&row.get::<_, String>(6)?),
        created: row.get(7)?,
        attempts: row.get(8)?,
        next_at: row.get(9)?,
        last_error: row.get(10)?,
        delivered_at: row.get(11)?,
        answer: row.get(12)?,
        claimed_by: row.get(13)?,
    })
}

/// The time after, or before, a while, as [`utc`] spells it.
pub(super) fn stamp(away: Duration, back: bool) -> String {
    let now = jiff::Timestamp::now();
    let then = if back { now.checked_sub(away) } else { now.checked_add(away) };
    utc(then.unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn letter() -> Letter {
        let text = |text: &str| text.to_owned();
        Letter {
            id: text("01RUN.failure.0"),
            channel: text("ops"),
            pipeline: text("orders"),
            // A path need not be a text.
            file: PathBuf::from(OsStr::from_bytes(b"/a/\xff.yaml")),
            inputs: text("{}"),
            message: text("{}"),
        }
    }

    #[test]
    fn a_message_is_in_one_hand_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Outbox::open(&folder.path().join("state.db"), &folder.path().join("senders")).unwrap();
        let (one, two) = (open(), open());
        let entry = one.put(&letter()).unwrap();
        assert_eq!((entry.letter.clone(), entry.attempts), (letter(), 0));
        let seen = two.due(false).unwrap();
        let claimed = one.claim(&entry).unwrap().unwrap();
        assert_eq!(claimed.attempts, 1);
        // By what it has seen before, and by what it sees now.
        assert_eq!(two.claim(&seen[0]).unwrap(), None);
        assert_eq!(two.claim(&two.put(&letter()).unwrap()).unwrap(), None);
        assert_eq!(two.due(true).unwrap(), []);
        // A process that is gone holds nothing.
        drop(one);
        let again = two.claim(&two.due(false).unwrap()[0]).unwrap().unwrap();
        assert_eq!(again.attempts, 2);
        let failed = Attempt::Failed { error: "no".to_owned(), after: Some(Duration::from_mins(10)) };
        two.settle(&again, &failed).unwrap();
        assert_eq!((two.due(false).unwrap().len(), two.due(true).unwrap().len()), (0, 1));
        // What was seen before the last attempt is no ground for another one.
        assert_eq!(open().claim(&seen[0]).unwrap(), None);
        let last = two.claim(&two.due(true).unwrap()[0]).unwrap().unwrap();
        two.settle(&last, &Attempt::Delivered { answer: "yes".to_owned() }).unwrap();
        assert_eq!(two.claim(&two.list().unwrap()[0]).unwrap(), None);
        assert_eq!(two.put(&letter()).unwrap().state, LetterState::Delivered);
    }

    #[test]
    fn what_was_delivered_long_ago_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&folder.path().join("state.db"), &folder.path().join("senders")).unwrap();
        for (id, sql) in [
            ("old", "UPDATE outbox SET state = 'delivered', delivered_at = '2020-01-01T00:00:00.000Z'"),
            ("waiting", "UPDATE outbox SET created = '2020-01-01T00:00:00.000Z' WHERE id = 'waiting'"),
        ] {
            outbox.put(&Letter { id: id.to_owned(), ..letter() }).unwrap();
            outbox.db.connection.execute(sql, []).unwrap();
        }
        outbox.prune().unwrap();
        let ids: Vec<String> = outbox.list().unwrap().into_iter().map(|entry| entry.letter.id).collect();
        assert_eq!(ids, ["waiting"]);
    }
}
