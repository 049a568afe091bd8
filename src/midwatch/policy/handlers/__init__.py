"""What each row of `state.TABLE` does: "module.function" there is a function here. Nobody else calls them."""
