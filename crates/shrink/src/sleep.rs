//! Which calls of a scenario may sleep.

use scenario::Scenario;

/// How many calls of the scenario may sleep, and options that make a close sleep.
pub(crate) fn sleepers(scenario: &Scenario) -> usize {
    scenario.lingers() + scenario.may_sleep().into_iter().filter(|&sleeps| sleeps).count()
}
