use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, TransactionBehavior, named_params, params};

use super::backoff::backoff;
use super::db::{Db, DbError, path_of, path_value};
use super::owner::Owner;
use crate::value::utc;

/// The messages that wait for their channel.
#[derive(Debug)]
pub struct Outbox {
    db: Db,
    owner: Owner,
}

/// A message for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// The id, the same for each attempt: receivers can deduplicate by it.
    pub id: String,
    /// The name of the channel in the pipeline file.
    pub channel: String,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The absolute path of the pipeline file.
    pub file: PathBuf,
    /// The inputs of its run, JSON: the settings of the channel may use them.
    pub inputs: String,
    /// The message itself, JSON.
    pub content: String,
}

/// The state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// It waits to be sent.
    Pending,
    /// The channel took it.
    Delivered,
    /// `tl` gave up; only `tl notify flush --all` tries again.
    Dead,
}

impl MessageState {
    /// The word that the database and JSON use.
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

/// A message with its state. Times are RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The message.
    pub message: OutboxMessage,
    /// Its state.
    pub state: MessageState,
    /// When it was queued.
    pub created: String,
    /// The number of attempts, including one in progress.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next_at: String,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When the channel took it.
    pub delivered_at: Option<String>,
    /// What the channel answered.
    pub answer: Option<String>,
    claimed_by: Option<String>,
}

/// The result of an attempt.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// The channel took it.
    Delivered {
        /// What the channel answered.
        answer: String,
    },
    /// The attempt failed.
    Failed {
        /// The error.
        error: String,
        /// The delay before the next attempt; `None` gives up.
        after: Option<Duration>,
    },
}

/// How long delivered messages are kept for `tl notify list`.
pub(super) const KEPT: Duration = Duration::from_hours(30 * 24);
/// How long a message is kept whose channel cannot be opened.
const ASIDE: Duration = Duration::from_hours(7 * 24);
/// A delay longer than this cannot be ours: the clock was wrong when it was written.
const ABSURD: Duration = Duration::from_hours(36);

const COLUMNS: &str = "id, channel, pipeline, file, inputs, message, state, created, attempts, next_at, last_error, \
                       delivered_at, answer, claimed_by";

impl Outbox {
    /// Opens the outbox in `state.db` of a state folder.
    pub(super) fn open(db: &Path, owners: &Path) -> Result<Self, DbError> {
        let owner = Owner::new(owners).map_err(|source| DbError::Io { path: owners.to_owned(), source })?;
        Ok(Self { db: Db::open(db)?, owner })
    }

    /// Queues a message durably, unless its id is known; returns the stored entry.
    pub fn put(&self, message: &OutboxMessage) -> Result<OutboxEntry, DbError> {
        insert(&self.db.connection, message)
            .and_then(|()| self.get(&message.id, &message.channel))
            .map_err(|error| self.db.failed(error))
    }

    /// Puts messages that are not there in one durable transaction.
    pub fn put_all(&self, messages: &[OutboxMessage]) -> Result<(), DbError> {
        let put = || {
            let transaction = self.db.connection.unchecked_transaction()?;
            messages.iter().try_for_each(|message| insert(&transaction, message))?;
            transaction.commit()
        };
        put().map_err(|error| self.db.failed(error))
    }

    /// Whether `overdue` messages were queued for this due time of a pipeline file.
    pub fn has_told_late(&self, file: &Path, due: &str) -> Result<bool, DbError> {
        let query = "SELECT EXISTS (SELECT 1 FROM stale_told WHERE file = ?1 AND due = ?2)";
        let read = self.db.connection.query_row(query, params![path_value(file), due], |row| row.get(0));
        read.map_err(|error| self.db.failed(error))
    }

    /// Forgets the due times of a pipeline file before `good`: it has succeeded since then. So `recovered` is sent once.
    pub fn forget_late(&mut self, file: &Path, good: &str) -> Result<(), DbError> {
        let forget = "DELETE FROM stale_told WHERE file = ?1 AND due < ?2";
        let forgotten = self.db.connection.execute(forget, params![path_value(file), good]);
        forgotten.map(drop).map_err(|error| self.db.failed(error))
    }

    /// Queues the messages that a pipeline file is overdue, and records its due time, in one durable transaction. Only the first
    /// process queues them; a due time belongs to a file, so two files of one pipeline name are independent.
    pub fn put_late(&mut self, file: &Path, due: &str, messages: &[OutboxMessage]) -> Result<(), DbError> {
        let put = |db: &mut Db| {
            let transaction = db.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let noted = transaction.execute(
                "INSERT INTO stale_told (file, due) VALUES (?1, ?2)
                 ON CONFLICT (file) DO UPDATE SET due = excluded.due WHERE due <> excluded.due",
                params![path_value(file), due],
            )?;
            if noted > 0 {
                messages.iter().try_for_each(|message| insert(&transaction, message))?;
            }
            transaction.commit()
        };
        put(&mut self.db).map_err(|error| self.db.failed(error))
    }

    fn get(&self, id: &str, channel: &str) -> rusqlite::Result<OutboxEntry> {
        let query = format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1 AND channel = ?2");
        self.db.connection.query_row(&query, [id, channel], entry)
    }

    /// Claims a message, so that no other process sends it while this one lives. `None` if another process was faster or the
    /// message is delivered. The attempt counts from here on, and after one that killed its process the next one waits, so that a
    /// message that kills is not tried at once and for ever.
    pub fn claim(&self, entry: &OutboxEntry) -> Result<Option<OutboxEntry>, DbError> {
        if entry.claimed_by.as_deref().is_some_and(|name| self.owner.is_alive(name)) {
            return Ok(None);
        }
        let after = backoff(entry.attempts + 1, None, fastrand::f64());
        let query = format!(
            "UPDATE outbox SET claimed_by = :me, attempts = attempts + 1,
             next_at = iif(claimed_by IS NULL, next_at, :next), state = iif(claimed_by IS NULL OR :again, state, 'dead')
             WHERE id = :id AND channel = :channel AND state <> 'delivered' AND attempts = :seen AND claimed_by IS :by
             RETURNING {COLUMNS}"
        );
        let values = named_params! {
            ":me": self.owner.name(), ":id": entry.message.id, ":channel": entry.message.channel,
            ":seen": entry.attempts, ":by": entry.claimed_by, ":next": stamp(after.unwrap_or_default(), false), ":again": after.is_some(),
        };
        self.db.connection.query_row(&query, values, self::entry).optional().map_err(|error| self.db.failed(error))
    }

    /// Records the result of an attempt durably and releases the claim.
    pub fn settle(&self, entry: &OutboxEntry, attempt: &Attempt) -> Result<(), DbError> {
        let OutboxMessage { id, channel, .. } = &entry.message;
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

    /// Records why a channel could not be opened. This is no attempt: another pipeline's run may lack the secrets that the right
    /// one has. After a week the message is dead.
    pub fn set_aside(&self, entry: &OutboxEntry, error: &str) -> Result<(), DbError> {
        let OutboxMessage { id, channel, .. } = &entry.message;
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

    /// The messages that are due, in the order in which they were queued. `all` adds those that wait longer and the dead ones.
    pub fn due(&self, all: bool) -> Result<Vec<OutboxEntry>, DbError> {
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

    /// All messages, in the order in which they were queued.
    pub fn list(&self) -> Result<Vec<OutboxEntry>, DbError> {
        self.select("TRUE", &[])
    }

    /// Removes messages that were delivered more than 30 days ago.
    pub fn prune(&self) -> Result<(), DbError> {
        self.db
            .connection
            .execute("DELETE FROM outbox WHERE state = 'delivered' AND delivered_at < ?1", [stamp(KEPT, true)])
            .map(drop)
            .map_err(|error| self.db.failed(error))
    }

    fn select(&self, chosen: &str, values: &[&dyn ToSql]) -> Result<Vec<OutboxEntry>, DbError> {
        let query = format!("SELECT {COLUMNS} FROM outbox WHERE {chosen} ORDER BY created, id, channel");
        let read = || {
            let mut statement = self.db.connection.prepare(&query)?;
            statement.query_map(values, entry)?.collect::<rusqlite::Result<Vec<OutboxEntry>>>()
        };
        read().map_err(|error| self.db.failed(error))
    }
}

fn insert(connection: &Connection, message: &OutboxMessage) -> rusqlite::Result<()> {
    let OutboxMessage { id, channel, pipeline, file, inputs, content } = message;
    let (file, now) = (path_value(file), stamp(Duration::ZERO, false));
    let query = "INSERT INTO outbox (id, channel, pipeline, file, inputs, message, created, next_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT DO NOTHING";
    connection.execute(query, params![id, channel, pipeline, file, inputs, content, now]).map(drop)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<OutboxEntry> {
    let file = path_of(row.get_ref(3)?);
    Ok(OutboxEntry {
        message: OutboxMessage {
            id: row.get(0)?,
            channel: row.get(1)?,
            pipeline: row.get(2)?,
            file,
            inputs: row.get(4)?,
            content: row.get(5)?,
        },
        state: MessageState::of(&row.get::<_, String>(6)?),
        created: row.get(7)?,
        attempts: row.get(8)?,
        next_at: row.get(9)?,
        last_error: row.get(10)?,
        delivered_at: row.get(11)?,
        answer: row.get(12)?,
        claimed_by: row.get(13)?,
    })
}

/// The present time plus `away`, or minus it, as [`utc`] writes it.
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

    fn message() -> OutboxMessage {
        let text = |text: &str| text.to_owned();
        OutboxMessage {
            id: text("01RUN.failure.0"),
            channel: text("ops"),
            pipeline: text("orders"),
            // A path need not be UTF-8.
            file: PathBuf::from(OsStr::from_bytes(b"/a/\xff.yaml")),
            inputs: text("{}"),
            content: text("{}"),
        }
    }

    #[test]
    fn a_message_is_in_one_hand_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Outbox::open(&folder.path().join("state.db"), &folder.path().join("senders")).unwrap();
        let (one, two) = (open(), open());
        let entry = one.put(&message()).unwrap();
        assert_eq!((entry.message.clone(), entry.attempts), (message(), 0));
        let seen = two.due(false).unwrap();
        let claimed = one.claim(&entry).unwrap().unwrap();
        assert_eq!(claimed.attempts, 1);
        // By what it has seen before, and by what it sees now.
        assert_eq!(two.claim(&seen[0]).unwrap(), None);
        assert_eq!(two.claim(&two.put(&message()).unwrap()).unwrap(), None);
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
        assert_eq!(two.put(&message()).unwrap().state, MessageState::Delivered);
    }

    #[test]
    fn what_was_delivered_long_ago_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&folder.path().join("state.db"), &folder.path().join("senders")).unwrap();
        for (id, sql) in [
            ("old", "UPDATE outbox SET state = 'delivered', delivered_at = '2020-01-01T00:00:00.000Z'"),
            ("waiting", "UPDATE outbox SET created = '2020-01-01T00:00:00.000Z' WHERE id = 'waiting'"),
        ] {
            outbox.put(&OutboxMessage { id: id.to_owned(), ..message() }).unwrap();
            outbox.db.connection.execute(sql, []).unwrap();
        }
        outbox.prune().unwrap();
        let ids: Vec<String> = outbox.list().unwrap().into_iter().map(|entry| entry.message.id).collect();
        assert_eq!(ids, ["waiting"]);
    }
}
