//! A set of measurements in short.

/// Measurements in ascending order, in whatever unit they were made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary(Vec<f64>);

impl Summary {
    /// Of `measured`, in any order.
    #[must_use]
    pub fn of(mut measured: Vec<f64>) -> Summary {
        measured.sort_by(f64::total_cmp);
        Summary(measured)
    }

    /// The least value that `share` (0 to 1) of all do not exceed; NaN of none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    /// The middle one; of an even number, the mean of the middle two.
    #[must_use]
    pub fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => self.0[half],
            _ => f64::midpoint(self.0[half - 1], self.0[half]),
        }
    }

    /// The least.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The greatest.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let summary = Summary::of(vec![3.0, 1.0, 2.0, 4.0]);
        assert_eq!((summary.min(), summary.median(), summary.max()), (1.0, 2.5, 4.0));
        assert_eq!(summary.quantile(0.5), 2.0);
        assert_eq!(summary.quantile(0.99), 4.0);
        assert_eq!(Summary::of(vec![5.0, 1.0, 9.0]).median(), 5.0);
        assert!(Summary::default().median().is_nan());
    }
}
