//! How the C library's allocator shares memory out to threads. Nothing else here is unsafe, and nothing else is here.
#![expect(unsafe_code, reason = "the C library has no safe form of this setting")]

/// Has all threads take memory from one heap. By itself the C library gives each a heap of its own (mallopt(3),
/// `M_ARENA_MAX`); pages of the index are taken by one thread and given back by another, so that each of those heaps grows to
/// what all of them need. To be called before there are threads.
pub(crate) fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number in the C library, and there is one thread.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    #[cfg(target_env = "gnu")]
    debug_assert_eq!(set, 1, "mallopt(3): 1 on success");
}
