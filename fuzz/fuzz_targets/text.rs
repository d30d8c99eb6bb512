//! The `.ring` text: whatever is read is printed so that it reads the same, and nothing panics. Runs on the host.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scenario::text;

fuzz_target!(|input: &str| {
    if let Ok(scenario) = text::parse(input) {
        let printed = text::print(&scenario);
        assert_eq!(text::parse(&printed), Ok(scenario), "{printed}");
    }
});
