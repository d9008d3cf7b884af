//! Panics of the store as errors: it trusts some numbers in a page, and a damaged file must be an error. Knows no table.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`; what a panic in it said, and where, if there was one. It is not printed.
///
/// # Errors
/// When `work` panicked.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                return before(panic);
            }
            let payload = panic.payload();
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("unknown");
            let at = panic.location().map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
            SAID.replace(format!("{text}{at}"));
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|_| SAID.take())
}

#[cfg(test)]
mod tests {
    use super::caught;

    #[test]
    fn a_panic_is_an_error_that_says_where() {
        assert_eq!(caught(|| 7), Ok(7));
        let said = caught(|| caught(|| panic!("page {} is none", 5)).map(|(): ()| ())).unwrap().unwrap_err();
        assert!(said.starts_with("page 5 is none at ") && said.contains("guard.rs:"), "{said}");
        let said = caught(|| panic!("again")).map(|(): ()| ()).unwrap_err();
        assert!(said.starts_with("again at "), "{said}");
    }
}
