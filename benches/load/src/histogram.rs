//! A histogram of latencies, with buckets that are 3 % wide.

const STEPS: u64 = 32;

/// The number of values in each bucket.
pub struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; 64 * STEPS as usize])
    }
}

impl Histogram {
    /// Counts a value `times` times.
    pub fn record(&mut self, value: u64, times: u64) {
        self.0[bucket(value)] += times;
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (mine, more) in self.0.iter_mut().zip(&other.0) {
            *mine += more;
        }
    }

    /// A percentile of nanoseconds, in microseconds.
    pub fn micros(&self, share: f64) -> f64 {
        self.percentile(share) as f64 / 1000.0
    }

    /// The value that this share of all values does not exceed, to the width of a bucket; 0 if no value
    /// was counted.
    pub fn percentile(&self, share: f64) -> u64 {
        let total: u64 = self.0.iter().sum();
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (number, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return top(number);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    // The bucket is chosen by the five bits after the highest bit.
    let shift = value.ilog2() - STEPS.ilog2();
    ((u64::from(shift) + 1) * STEPS + (value >> shift) - STEPS) as usize
}

fn top(bucket: usize) -> u64 {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if octave == 0 {
        return step;
    }
    ((STEPS + step + 1) << (octave - 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_values() {
        for value in (0..200_000).chain([1 << 40, (1 << 40) + 12345]) {
            let found = top(bucket(value));
            assert!(found >= value && found - value <= value / 32, "{value}");
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), 0);
        for value in 1..=20 {
            histogram.record(value, 1);
        }
        assert_eq!(histogram.percentile(0.5), 10);
        assert_eq!(histogram.percentile(1.0), 20);
    }
}
