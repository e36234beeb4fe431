"""What the admin API calls itself in its OpenAPI document; commands look for it before they ask for a change."""

ADMIN_TITLE = "routerctl admin API"
