"""Addresses of the site of the tests."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path('admin/', admin.site.urls)]
