use std::collections::VecDeque;

/// The last lines of a stage's output, and the number of lines before them. Output can be endless, and its last lines say
/// why the stage failed.
#[derive(Debug)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
    most: usize,
    left_out: u64,
}

impl Tail {
    /// Keeps at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, most, left_out: 0 }
    }

    pub(super) fn push(&mut self, line: String) {
        // An empty line costs memory, too.
        self.bytes += cost(&line);
        self.lines.push_back(line);
        self.shrink(self.most);
    }

    /// Drops the oldest lines until at most `most` bytes are left.
    pub(super) fn shrink(&mut self, most: usize) {
        while self.bytes > most
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= cost(&first);
            self.left_out += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.left_out == 0
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The kept lines, after one that counts the dropped ones.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let left_out = (self.left_out > 0).then(|| format!("({} earlier lines are left out)", self.left_out));
        left_out.into_iter().chain(self.lines.iter().cloned())
    }
}

fn cost(line: &str) -> usize {
    line.len() + std::mem::size_of::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_others_counted() {
        let mut tail = Tail::new(1_000);
        assert!(tail.is_empty());
        (0..1_000_000).for_each(|number| tail.push(format!("{number}")));
        assert!(tail.bytes() <= 1_000);
        let lines: Vec<String> = tail.lines().collect();
        let kept = lines.len() - 1;
        assert_eq!(lines[0], format!("({} earlier lines are left out)", 1_000_000 - kept));
        assert!(kept > 10 && lines[kept] == "999999");
        // Nothing of a line that is too long by itself.
        tail.push("x".repeat(2_000));
        assert_eq!(tail.lines().collect::<Vec<_>>(), ["(1000001 earlier lines are left out)"]);
    }
}
