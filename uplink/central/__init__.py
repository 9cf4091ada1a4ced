"""The central store's side: workers that verify before they store, and store before they receipt."""
